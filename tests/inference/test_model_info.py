"""Metadata there and back, and which model file is meant."""

import os
from pathlib import Path

import pytest
from conftest import TINY_METADATA

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.locate import locate_model, newest_export
from speech_commands_kws.inference.model_info import ModelInfo

INFO = ModelInfo(("да", 'quote"d', "no"), 16_000, 16_000, {"n_mels": 40}, {"accuracy": 0.5})


def test_metadata_are_texts_that_read_back() -> None:
    metadata = INFO.to_metadata()
    assert metadata["sample_rate"] == "16000"
    assert metadata["labels"] == '["да", "quote\\"d", "no"]'
    assert ModelInfo.from_metadata(metadata, "model.onnx") == INFO


def test_unknown_keys_are_left_alone() -> None:
    metadata = TINY_METADATA | {"author": "somebody"}
    assert ModelInfo.from_metadata(metadata, "model.onnx").sample_rate == 16_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": "yes, no"}, "malformed metadata"),
        ({"labels": '"yes"'}, "labels must be a list of texts .* got 'yes'"),
        ({"labels": "[]"}, r"labels must be .* got \[\]"),
        ({"labels": "[1, 2]"}, "labels must be a list of texts"),
        ({"labels": "[" * 100_000}, "malformed metadata"),
        ({"sample_rate": "1" * 5_000}, "malformed metadata"),
        ({"sample_rate": "-1"}, "sample_rate must be .* got -1"),
        ({"sample_rate": "16000.5"}, "sample_rate must be .* got 16000.5"),
        ({"training": "[1]"}, r"training must be a mapping, got \[1\]"),
        ({"frontend": "5"}, "frontend must be a mapping, got 5"),
        ({"detection": "null"}, "detection must be a mapping, got None"),
        ({"clip_samples": "0"}, "clip_samples must be .* got 0"),
    ],
)
def test_malformed_metadata_are_refused(change: dict[str, str], reason: str) -> None:
    with pytest.raises(KwsError, match=f"model.onnx has .*{reason}"):
        ModelInfo.from_metadata(TINY_METADATA | change, "model.onnx")


def test_missing_keys_are_named() -> None:
    with pytest.raises(KwsError, match="no labels, sample_rate, clip_samples, frontend, training"):
        ModelInfo.from_metadata({}, "model.onnx")


def test_the_newest_export_is_taken(tmp_path: Path) -> None:
    for name, seconds in (("c", 10), ("sweep/0", 30), ("b", 20)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.onnx").touch()
        os.utime(tmp_path / name / "model.onnx", (seconds, seconds))
    (tmp_path / "d").mkdir()
    assert newest_export(tmp_path) == tmp_path / "sweep/0" / "model.onnx"
    assert locate_model(None, tmp_path) == tmp_path / "sweep/0" / "model.onnx"
    assert locate_model(tmp_path / "b" / "model.onnx", tmp_path) == tmp_path / "b" / "model.onnx"


def test_no_export_at_all(tmp_path: Path) -> None:
    for runs in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            KwsError, match="no exported model.onnx under .*: train and export first"
        ):
            locate_model(None, runs)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="nowhere.onnx does not exist"):
        locate_model(str(tmp_path / "nowhere.onnx"), tmp_path)
    with pytest.raises(KwsError, match="is not a file.*model.onnx"):
        locate_model(tmp_path, tmp_path)


def test_a_model_that_dvc_keeps(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.dvc").touch()
    with pytest.raises(KwsError, match="DVC cannot pull .*model.onnx.dvc: "):
        locate_model(tmp_path / "model.onnx", tmp_path)


def test_detection_settings_may_be_missing() -> None:
    """A model that was exported before they were measured still runs."""
    info = ModelInfo(("yes",), 16_000, 16_000, {}, {})
    assert "detection" not in info.to_metadata()
    assert ModelInfo.from_metadata(info.to_metadata(), "x") == info
    settled = ModelInfo(("yes",), 16_000, 16_000, {}, {}, {"threshold": 0.5})
    assert ModelInfo.from_metadata(settled.to_metadata(), "x") == settled


def test_what_the_threshold_finds_is_a_sentence_where_it_was_measured() -> None:
    measured = {"threshold": 0.9821, "recall": 0.6204, "false_alarms_per_clip": 0.0096}
    assert ModelInfo(("yes",), 1, 1, {}, {}, measured).threshold_note == (
        "The detection threshold of 98.2% finds 62.0% of the keywords in validation clips and takes 1.0% of the other "
        "clips for one."
    )
    assert ModelInfo(("yes",), 1, 1, {}, {}, {"threshold": 0.5}).threshold_note == ""
    hourly = ModelInfo(("yes",), 1, 1, {}, {}, measured | {"hop_seconds": 0.25}).threshold_note
    assert hourly.endswith(
        "other clips for one: of the 14,400 windows of an hour that would be 138."
    )


def test_older_files_call_the_share_of_clips_a_rate() -> None:
    shares = {"threshold": 0.9, "recall": 0.6, "false_alarm_rate": 0.01}
    metadata = ModelInfo(("yes",), 1, 1, {}, {}, shares).to_metadata()
    info = ModelInfo.from_metadata(metadata, "x")
    assert info.detection == {"threshold": 0.9, "recall": 0.6, "false_alarms_per_clip": 0.01}
    assert "1.0% of the other clips" in info.threshold_note
