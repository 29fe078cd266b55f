"""What is said about a path whose content DVC keeps."""

from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files import dvc
from speech_commands_kws.files.dvc import dvc_pointer, ensure_present


def test_what_is_there_is_given_back(tmp_path: Path) -> None:
    (tmp_path / "clips.dvc").touch()
    (tmp_path / "clips").mkdir()
    assert ensure_present(str(tmp_path / "clips")) == tmp_path / "clips"


def test_a_tracked_path_is_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips.dvc").touch()
    monkeypatch.setattr(dvc, "pull", lambda pointer: pointer.with_suffix("").mkdir())
    assert ensure_present(tmp_path / "clips").is_dir()
    with pytest.raises(KwsError, match="a.wav does not exist, and .*clips.dvc does not hold it"):
        (tmp_path / "clips").rmdir()
        ensure_present(tmp_path / "clips" / "a.wav")


def test_a_file_inside_a_tracked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips.dvc").touch()
    assert dvc_pointer(tmp_path / "clips" / "yes" / "a.wav") == tmp_path / "clips.dvc"
    monkeypatch.chdir(tmp_path)
    assert dvc_pointer(Path("clips/yes/a.wav")) == Path("clips.dvc")


def test_nothing_at_all(tmp_path: Path) -> None:
    assert dvc_pointer(tmp_path / "clips") is None
    with pytest.raises(KwsError, match="clips does not exist"):
        ensure_present(tmp_path / "clips")


def test_the_folder_of_dvc_itself_is_no_pointer(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "clips").mkdir()
    assert dvc_pointer(tmp_path / "clips" / "a.wav") is None
