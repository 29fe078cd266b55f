from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from streaming_models import SECONDS, DrawnGate, lively_sound, streaming_file

from speech_commands_kws import KeywordListener
from speech_commands_kws.assembly import run_data, streaming
from speech_commands_kws.assembly.streaming import open_streaming, score_streams
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.packed import pack_folder
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.streams import Stream
from speech_commands_kws.inference.streaming import StreamingModel

FRAMES = SECONDS * 100
WORDS = ("_silence_", "cat", "marvin", "no", "yes")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> StreamingModel:
    return StreamingModel(streaming_file(tmp_path_factory.mktemp("model")))


def composed(root: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(CONFIG_DIR):
        return compose("tune", [f"paths.root={root}", *overrides])


def test_of_each_stream_the_frames_are_kept_in_which_a_keyword_may_be_heard(model) -> None:
    sound = lively_sound(SECONDS)
    stream = Stream("speech, 0", "speech", sound, [])
    (scored,) = score_streams(model, [stream], floor=0.5)
    rows = model.rows(sound, [FRAMES])
    assert (scored.kind, scored.frames, scored.words) == ("speech", FRAMES, [])
    kept = sum(len(part) for _, part in scored.stretches)
    heard = (rows[:, 2:] >= 0.5).any(axis=1).sum()
    assert heard <= kept < FRAMES
    start, first = scored.stretches[0]
    np.testing.assert_array_equal(first, rows[start : start + len(first)])


def test_what_a_gate_is_closed_for_is_not_heard(model) -> None:
    """The same calls as those of a listener behind the same gate."""
    sound = lively_sound(SECONDS)
    stream = Stream("speech, 0", "speech", sound, [])
    gate = DrawnGate(2)
    (scored,) = score_streams(model, [stream], floor=0.35, gate=gate)
    listener = KeywordListener(model, thresholds=0.5, gate=gate)
    listener(sound)
    rows = np.concatenate(listener.rows)
    assert 0 < scored.closed == (~rows.any(axis=1)).sum() < FRAMES
    for start, part in scored.stretches:
        np.testing.assert_array_equal(part, rows[start : start + len(part)])


def test_a_model_outside_of_its_run_is_refused(tmp_path) -> None:
    cfg = composed(tmp_path, f"model={streaming_file(tmp_path)}")
    with pytest.raises(KwsError, match="expected a model in the folder of its run"):
        open_streaming(cfg)


def test_the_model_of_a_run_is_opened_and_one_without_is_refused(tmp_path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    cfg = composed(tmp_path, f"paths.runs={tmp_path}/runs", "+run=one")
    with pytest.raises(KwsError, match=r"model.streaming.onnx, found none: `kws export run=one`"):
        open_streaming(cfg)
    path = streaming_file(run)
    streaming_file(tmp_path / "runs")  # a newer one, of no run
    assert (open_streaming(cfg)[0].model, open_streaming(cfg)[1]) == (path, run)


def test_a_split_without_keywords_is_refused(tmp_path, model, monkeypatch) -> None:
    split = SimpleNamespace(names=["a"], targets=[1], noises={})
    monkeypatch.setattr(run_data, "recorded_split", lambda *_: split)
    monkeypatch.setattr(streaming.runs, "read_config", lambda _: None)
    cfg = OmegaConf.create({"protocol": {}, "split": "test", "input": None})
    with pytest.raises(KwsError, match="expected clips of yes, no in the test split, found none"):
        streaming.streams_of(cfg, model, tmp_path)


@pytest.mark.parametrize("talk", [True, False])
def test_talk_holds_no_keyword_of_the_model(tmp_path, talk: bool) -> None:
    without = [] if talk else ["protocol.ambient.talk=null"]
    ambient = streaming.ambient_of(composed(tmp_path, *without), ["yes", "computer"])
    assert ambient.talk_hours == 3
    words = ambient.talk.words if talk else []
    assert [words.count(word) for word in ("yes", "computer", "go")] == [talk] * 3


def test_all_other_words_of_a_split_are_found(tmp_path, monkeypatch) -> None:
    """Of the speakers of the split, in no class that has a name; without words chosen to be hard."""
    paths = [f"{word}/{speaker}.wav" for word in WORDS for speaker in ("anna", "theo")]
    for path in paths:
        write_wav(tmp_path / path, np.full(16_000, 0.01 * len(path)), 16_000)
    config = {
        "_target_": "speech_commands_kws.data.sources.folder.FolderSource",
        "_convert_": "all",
        **{"root": str(tmp_path), "pattern": SPEECH_COMMANDS_PATTERN, "test_root": None},
        **{"words": None, "validation_speakers": ["theo"], "test_speakers": []},
        **{"validation_percent": 10, "test_percent": 10, "hint": ""},
    }
    packed = pack_folder(tmp_path, SPEECH_COMMANDS_PATTERN, tmp_path / "packed", 16_000, 16_000)
    saved = OmegaConf.create({"data": {"source": config}})
    clips = SimpleNamespace(packed=packed)
    found = streaming.other_clips(saved, clips, ["yes", "no"], "validation")
    assert [clip.name for clip in found] == ["cat/theo.wav", "marvin/theo.wav"]
    assert [clip.word for clip in found] == ["cat", "marvin"]
    for clip in found:
        assert clip.read(16_000).mean() == pytest.approx(0.01 * len(clip.name), abs=1e-4)

    tree = replace(build(saved.data.source).prepare(), near_misses=["cat"])
    monkeypatch.setattr(streaming, "build", lambda _: SimpleNamespace(prepare=lambda: tree))
    found = streaming.other_clips(saved, clips, ["yes", "no"], "validation")
    assert [clip.word for clip in found] == ["marvin"]
