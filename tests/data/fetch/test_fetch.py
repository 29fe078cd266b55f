"""Which way missing recordings come."""

from pathlib import Path

import pytest

from speech_commands_kws.data.fetch.fetch import fetch_folder
from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files import dvc

NAME = "speech_commands_v0.02"


class Ways:
    """DVC and the publisher, of whom each may fail; `tried` has what was asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[str] = []
        self.dvc_works = self.download_works = True
        monkeypatch.setattr(dvc, "pull", self.pull)

    def pull(self, pointer: Path) -> None:
        self.tried.append(pointer.name)
        if not self.dvc_works:
            raise KwsError("DVC cannot pull it: no remote")
        pointer.with_suffix("").touch()

    def download(self, folder: Path) -> None:
        self.tried.append(folder.name)
        if not self.download_works:
            raise KwsError("it could not be downloaded")
        (folder / "yes").mkdir(parents=True)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


def source_of(folder: Path, ways: Ways, test_root: str | None = None) -> FolderSource:
    return FolderSource(
        root=str(folder),
        pattern=SPEECH_COMMANDS_PATTERN,
        test_root=test_root,
        words=None,
        validation_speakers=[],
        test_speakers=[],
        validation_percent=10,
        test_percent=10,
        hint="set data.root",
        download=ways.download,
    )


def test_the_archive_that_dvc_tracks_comes_by_dvc(ways: Ways, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.tar.gz.dvc").touch()
    fetch_folder(tmp_path / NAME, ways.download)
    assert ways.tried == [f"{NAME}.tar.gz.dvc", NAME]
    assert (tmp_path / f"{NAME}.tar.gz").exists()


def test_where_dvc_fails_one_line_says_why(
    ways: Ways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{NAME}.tar.gz.dvc").touch()
    ways.dvc_works = False
    fetch_folder(tmp_path / NAME, ways.download)
    assert caplog.messages == [
        "DVC cannot pull it: no remote; downloading it from where it is published instead"
    ]
    assert (tmp_path / NAME).is_dir()


def test_where_neither_works(ways: Ways, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.tar.gz.dvc").touch()
    ways.dvc_works = ways.download_works = False
    with pytest.raises(KwsError, match="could not be downloaded"):
        fetch_folder(tmp_path / NAME, ways.download)


def test_without_a_pointer_dvc_is_not_asked(ways: Ways, tmp_path: Path) -> None:
    fetch_folder(tmp_path / NAME, ways.download)
    assert ways.tried == [NAME]


def test_what_is_there_is_left_alone(ways: Ways, tmp_path: Path) -> None:
    """Without its test set too: a tree of one's own must not cause a download."""
    (tmp_path / NAME).mkdir()
    tree = source_of(tmp_path / NAME, ways, str(tmp_path / "test_set")).prepare()
    assert ways.tried == []
    assert tree.test_root is None


def test_the_test_set_comes_first(ways: Ways, tmp_path: Path) -> None:
    tree = source_of(tmp_path / NAME, ways, str(tmp_path / "test_set")).prepare()
    assert ways.tried == ["test_set", NAME]
    assert tree.test_root == tmp_path / "test_set"


def test_a_folder_that_nobody_publishes(ways: Ways, tmp_path: Path) -> None:
    fetch_folder(tmp_path / "mine", None)
    assert not (tmp_path / "mine").exists()
    assert ways.tried == []
