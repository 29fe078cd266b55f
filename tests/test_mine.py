"""From a model that is wrong to clips of its false alarms, and to the next training, which hears them."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf
from streaming_models import SAMPLE_RATE, lively_sound, streaming_file
from tone_trainings import EVERY_STEP, assert_equal, newest_run, train, weights

from speech_commands_kws.evaluation.streaming.mining import AlarmMiner
from speech_commands_kws.mine import summary, warn_of_keywords
from speech_commands_kws.training.module import KeywordModule

STREAMS = (
    *("backbone=bc_resnet_streaming_small", "experiment=streams", "init=null", "augment=none"),
    *("trainer.max_epochs=2", "streams.mined_share=1.0", EVERY_STEP),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("model"))


@pytest.fixture
def kws_mine(model, tmp_path, monkeypatch, type_kws):
    """Runs `kws mine` in a folder with two recordings of 12 s; status and output."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("one", "two")):
        path = Path("sounds", name, "talk.wav")
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.roll(lively_sound(12), 1000 * i), SAMPLE_RATE)

    def run(*arguments: str) -> tuple[int, str]:
        done = type_kws("mine", f"model={model}", *arguments)
        return done.status, done.out or done.err

    return run


def clips() -> list[str]:
    return sorted(path.name for path in Path("data/mined").glob("*.wav"))


def test_the_worst_false_alarms_become_clips_once(kws_mine) -> None:
    status, said = kws_mine("sounds/one", "threshold=0.5", "worst=2")
    assert status == 0 and len(clips()) == 2
    (line,) = said.splitlines()
    assert line.startswith("0.00 h: ") and " false alarms above 0.5 (" in line
    assert " an hour; 2 new in data/mined, scores from 0." in line
    before = clips()
    status, said = kws_mine("sounds/one", "sounds/two", "threshold=0.5")
    assert status == 0 and set(before) < set(clips())
    before = clips()
    assert kws_mine("sounds", "threshold=0.5")[1].strip().endswith("; 0 new in data/mined")
    assert clips() == before


def test_what_was_heard_before_an_interruption_is_kept(kws_mine, monkeypatch) -> None:
    hear = AlarmMiner.hear

    def interrupted(self, path):
        if path.parent.name == "two":
            raise KeyboardInterrupt
        hear(self, path)

    monkeypatch.setattr(AlarmMiner, "hear", interrupted)
    status, said = kws_mine("sounds", "threshold=0.5")
    assert status == 130 and clips() and " new in data/mined" in said


def test_recordings_whose_text_says_a_keyword_are_left_out(kws_mine, caplog) -> None:
    _, whole = kws_mine("sounds", "threshold=0.5", "output=whole")
    _, alone = kws_mine("sounds/two", "threshold=0.5", "output=alone")
    Path("sounds/texts.txt").write_text("one/talk: I know\ntwo/talk: nothing\n")
    status, said = kws_mine("sounds", "threshold=0.5")
    assert status == 0 and caplog.messages == ["left out: 1 recordings that say no (1)"]
    heard = [line.partition(";")[0] for line in (said, alone, whole)]
    assert heard[0] == heard[1] != heard[2]
    kws_mine("sounds/**/*.wav", "threshold=0.5")
    assert caplog.messages[1:] == caplog.messages[:1]


def test_an_hour_without_alarms_names_no_keyword() -> None:
    quiet = SimpleNamespace(seconds=3600.0, alarms=Counter(), kept=[])
    line = summary(quiet, 0.3, Path("mined"))
    assert line == "1.00 h: 0 false alarms above 0.3, 0.0 an hour; 0 new in mined"


def test_many_sure_alarms_are_told_of_a_model_that_has_heard_streams(caplog) -> None:
    def told(scores: list[float], **training: bool) -> list[str]:
        model = SimpleNamespace(info=SimpleNamespace(training=training))
        miner = SimpleNamespace(scores=scores, seconds=36.0, model=model)
        caplog.clear()
        sure = OmegaConf.create({"score": 0.9, "an_hour": 300})
        warn_of_keywords(miner, sure, Path("mined"))
        return caplog.messages

    (line,) = told([0.95] * 4, streams=True)
    assert line.startswith("400 false alarms an hour have a score above 0.9")
    assert "listen to the clips in mined, and delete those of keywords" in line
    assert told([0.95] * 4) == told([0.95] * 3 + [0.9], streams=True) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected sound without keywords, got none: add input=FOLDER"),
        (["nowhere"], "nowhere does not exist"),
        (["-"], "got standard input"),
        (["sounds", "threshold=0.1"], "must be above hysteresis"),
        (["sounds", "model=sounds"], "is not a file"),
        (["sounds", "output=sounds/one/talk.wav"], "cannot write sounds/one/talk.wav"),
    ],
)
def test_mistakes_are_one_line(kws_mine, arguments, complaint) -> None:
    status, said = kws_mine(*arguments)
    assert status == 1 and complaint in said and len(said.splitlines()) == 1


@pytest.mark.integration
def test_a_training_hears_them_and_resumes_to_the_same_weights(
    kws_mine, tree, tmp_path, monkeypatch
) -> None:
    kws_mine("sounds", "threshold=0.5")
    negatives = f"streams.negatives=[{tmp_path}/sounds/one,{tmp_path}/sounds/two]"
    heard = [*STREAMS, negatives, f"streams.mined={tmp_path}/data/mined"]
    whole = weights(train(tree, tmp_path / "whole", *heard))
    without = weights(train(tree, tmp_path / "without", *STREAMS, negatives))
    name = "spotter.backbone.stem.1.weight"
    assert not whole[name].equal(without[name])

    training_step = KeywordModule.training_step

    def stopping(self, batch, batch_idx):
        if self.global_step == 3:
            raise RuntimeError("pulled the plug")
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(KeywordModule, "training_step", stopping)
        with pytest.raises(RuntimeError, match="plug"):
            train(tree, tmp_path / "cut", *heard)
    assert newest_run(tmp_path / "cut").is_dir()
    assert_equal(whole, weights(train(tree, tmp_path / "cut", "resume=true")))
