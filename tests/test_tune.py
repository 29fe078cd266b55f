"""From clips to a listener with thresholds: trained on clips, then on streams, exported, tuned, evaluated."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from tone_trainings import train
from tones import SAMPLE_RATE, make_tree, tone

from speech_commands_kws import KeywordListener, export
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.packaging.onnx_export import operator_counts
from speech_commands_kws.tune import run

CLIPS = ["backbone=bc_resnet_streaming", "trainer.max_epochs=12", "loader.batch_size=12"]
STREAMS = [
    *("experiment=streams", "trainer.max_epochs=30", "augment=none", "callbacks=streams"),
    *("optimizer.lr=0.05", "init=latest"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with a run that was trained on clips and one on streams, and sound without keywords."""
    root = tmp_path_factory.mktemp("listener")
    tree = make_tree(root / "recordings", takes=6)
    train(tree, root, *CLIPS)
    train(tree, root, *CLIPS, *STREAMS, f"streams.negatives={sounds(root)}")
    with initialize_config_dir(CONFIG_DIR):
        export.run(compose("export", [f"paths.root={root}", "card.worst=1"]))
    return root


def sounds(root: Path) -> Path:
    """Another word without an end, and noise."""
    folder = root / "sounds"
    if not folder.exists():
        talk = np.concatenate([tone("tree", seed) for seed in range(20)])
        hiss = np.random.default_rng(3).normal(0, 0.02, 20 * SAMPLE_RATE)
        for kind, sound in {"talk": talk, "hiss": hiss}.items():
            write_wav(folder / kind / "one.wav", sound, SAMPLE_RATE)
    return folder


def settings(root: Path, *overrides: str) -> list[str]:
    short = ["protocol.rooms.rooms=1", "protocol.rooms.max_order=3"]
    return [f"paths.root={root}", f"protocol.ambient.folder={sounds(root)}", *short, *overrides]


def tuned(root: Path, *overrides: str) -> float:
    with initialize_config_dir(CONFIG_DIR):
        return run(compose("tune", settings(root, *overrides)))


@pytest.mark.integration
def test_thresholds_and_what_they_cost_are_written_into_the_file(root, capsys) -> None:
    (path,) = root.glob("plots/runs/*/model.streaming.onnx")
    assert set(StreamingModel(path).info.detector["thresholds"].values()) == {0.9}
    assert OnnxBackend(path.with_name("model.onnx")).info.training["accuracy"] >= 0.7  # of clips
    missed = tuned(root, f"json_file={root}/point.json")
    assert missed <= 0.25
    info = StreamingModel(path).info
    facts = json.loads((root / "point.json").read_text())
    assert facts == info.operating_points
    assert info.detector["thresholds"] == facts["thresholds"]
    assert facts["false_alarms"]["hours"] == pytest.approx(41 / 3600, rel=0.02)
    assert facts["misses"]["words"] == 2 * 6 * 6  # two words, six takes, six conditions
    assert facts["misses"]["miss_rate"] == missed
    shown = capsys.readouterr().out
    assert "10 dB" in shown and "hiss" in shown and "an hour" in shown
    card = path.with_suffix(".md").read_text()
    assert "Chosen for 0.5 false alarms an hour" in card and "| hiss |" in card
    assert "model.streaming.md" in (path.parent / "model.md").read_text()
    assert (path.parent / "plots/detection.png").is_file()
    assert [point["miss_rate_by_condition"].keys() for point in facts["curve"]] == [
        facts["misses_by_condition"].keys()
    ] * 30
    kinds = facts["false_alarms_by_kind"]
    assert kinds.keys() == {"talk", "hiss", "other words"}  # no text, so no synthetic talk
    assert facts["false_alarms"]["sound"] == "recordings"
    assert facts["false_alarms_in_all_sound"]["hours"] == pytest.approx(
        sum(found["hours"] for found in kinds.values())
    )
    assert "other words" in shown and "| other words |" in card
    assert info.training["operators"] == operator_counts(path)


@pytest.mark.integration
def test_a_listener_hears_the_words_of_somebody_new(root) -> None:
    tuned(root)
    (path,) = root.glob("plots/runs/*/model.streaming.onnx")
    listener = KeywordListener(path)
    silence = np.random.default_rng(0).normal(0, 0.003, 2 * SAMPLE_RATE).astype(np.float32)
    said = ["yes", "no", "tree", "yes"]
    sound = [part for word in said for part in (silence, tone(word, 77))]
    events = listener(np.concatenate([*sound, silence])) + listener.finish()
    assert [event.keyword for event in events] == ["yes", "no", "yes"]
    for event, end in zip(events, (2.65, 5.65, 11.65), strict=True):
        assert end - 0.3 < event.time < end + 0.75


@pytest.mark.integration
def test_evaluate_measures_a_listener_at_its_thresholds(root) -> None:
    tuned(root)
    command = [sys.executable, "-m", "speech_commands_kws.evaluate"]
    command += ["protocol=streaming", "format=json", "save=sounds_and_truth", f"hours={10 / 3600}"]
    command += settings(root)
    finished = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    facts = json.loads(finished.stdout)
    assert facts["misses"]["miss_rate"] <= 0.25
    (path,) = root.glob("plots/runs/*/model.streaming.onnx")
    assert facts["model_sha256"] == sha256(path.read_bytes()).hexdigest()
    assert set(facts["false_alarms_by_kind"]) == {"talk", "hiss", "other words"}
    assert facts["false_alarms"]["hours"] == pytest.approx(20 / 3600)
    assert len(facts["curve"]) == 30 and Path(facts["pictures"], "detection.png").is_file()
    truth, events = (
        [json.loads(line) for line in (root / "sounds_and_truth" / name).read_text().splitlines()]
        for name in ("truth.jsonl", "events.jsonl")
    )
    assert len(truth) == facts["misses"]["words"] and len(events) > 0.7 * len(truth)
    streams = {path.stem for path in (root / "sounds_and_truth").glob("*.wav")}
    assert {row["stream"] for row in truth + events} < streams and "hiss, 0" in streams


@pytest.mark.integration
def test_it_can_listen_for_one_of_its_keywords(root) -> None:
    tuned(root, "keywords=[no]")
    (path,) = root.glob("plots/runs/*/model.streaming.onnx")
    info = StreamingModel(path).info
    assert (
        set(info.detector["thresholds"])
        == set(info.operating_points["misses_by_keyword"])
        == {"no"}
    )
    with pytest.raises(KwsError, match="a keyword of keywords must be one of yes, no, got tree"):
        tuned(root, "keywords=[tree]")


@pytest.mark.integration
def test_no_sound_without_keywords_is_refused(root, tmp_path) -> None:
    with pytest.raises(KwsError, match="a folder for each kind of sound, found none"):
        tuned(root, f"protocol.ambient.folder={tmp_path}")
