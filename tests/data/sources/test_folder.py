"""Recordings that lie in a folder: what the settings may be, and what the tree is."""

from pathlib import Path

import pytest

from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.errors import KwsError


def source(root: Path, **changes: object) -> FolderSource:
    settings = {
        "root": str(root),
        "pattern": SPEECH_COMMANDS_PATTERN,
        "test_root": None,
        "words": None,
        "validation_speakers": [],
        "test_speakers": [7],
        "validation_percent": 10,
        "test_percent": 20,
        "hint": "set data.root",
    }
    return FolderSource(**settings | changes)


def test_the_tree_has_the_settings_of_the_source(tmp_path: Path) -> None:
    tree = source(tmp_path).prepare()
    assert (tree.root, tree.test_root) == (tmp_path, None)
    assert (tree.validation_percent, tree.test_percent) == (10, 20)
    assert tree.test_speakers == ("7",)


def test_a_test_set_that_is_missing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert source(tmp_path, test_root=str(tmp_path / "test")).prepare().test_root is None
    (line,) = caplog.messages
    assert line.startswith("no test set at data.test_root=")


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="expected a folder of recordings .* found none; set data.r"):
        source(tmp_path / "missing").prepare()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"test_speakers": "anna"}, "test_speakers must be a list such as .anna,theo., got 'anna'"),
        (
            {"test_speakers": [590750e8]},
            "test_speakers must be a list of names, got 5.*: put a name that looks like a number",
        ),
        ({"split_rule": "hash"}, "split_rule must be one of published, dealt"),
        ({"validation_percent": 101}, "validation_percent"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_error(
    setting: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(KwsError, match=message):
        source(tmp_path, **setting)
