"""Which file a model= means."""

import os
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.locate import exported_at, locate_model, newest_export


def export(folder: Path, seconds: int) -> Path:
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def test_without_a_name_the_newest_export_of_any_depth_is_taken(tmp_path: Path) -> None:
    newest = export(tmp_path / "sweep" / "0", 200)
    export(tmp_path / "later_run", 100)
    assert locate_model(None, tmp_path) == newest == newest_export(tmp_path)


def test_a_copied_export_is_as_old_as_its_log_says(tmp_path: Path) -> None:
    newest, copied_last = export(tmp_path / "b", 100), export(tmp_path / "a", 200)
    for model, time in (
        (newest, "2026-02-03 05:00:00,000"),
        (copied_last, "2026-02-03 04:00:00,000"),
    ):
        model.with_suffix(".log").write_text(f"{time} INFO exported\n")
    assert newest_export(tmp_path) == newest
    streaming = newest.rename(newest.with_name("model.streaming.onnx"))
    assert exported_at(streaming) - exported_at(copied_last) == 3600


def test_an_address_of_the_registry_is_fetched(tmp_path: Path) -> None:
    assert locate_model("models:/name@best", tmp_path, lambda name: Path(name[8:])) == Path(
        "name@best"
    )


def test_what_is_no_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="no exported model.onnx under .*: train and export first"):
        locate_model(None, tmp_path)
    with pytest.raises(KwsError, match="is not a file: model= takes an exported model such as"):
        locate_model(tmp_path, tmp_path)
    with pytest.raises(KwsError, match="missing.onnx does not exist"):
        locate_model(tmp_path / "missing.onnx", tmp_path)
