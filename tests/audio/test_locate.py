"""Which recordings a name stands for."""

import io
import os
import sys
from pathlib import Path

import pytest

from speech_commands_kws.audio.locate import recordings
from speech_commands_kws.audio.reading import AudioError
from speech_commands_kws.errors import KwsError

NAMES = [
    "a.wav",
    "b/c.FLAC",
    "b/d/e.mp3",
    "b/e/f.au",
    "b/notes.txt",
    "b/._hidden.wav",
    "x[1]y.wav",
    "z*.ogg",
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.wav", ["a.wav"]),
        ("b/notes.txt", ["b/notes.txt"]),
        ("b", ["b/c.FLAC", "b/d/e.mp3", "b/e/f.au"]),
        (".", ["a.wav", "x[1]y.wav", "z*.ogg", "b/c.FLAC", "b/d/e.mp3", "b/e/f.au"]),
        ("*.wav", ["a.wav", "x[1]y.wav"]),
        ("b/*", ["b/c.FLAC", "b/d/e.mp3", "b/e/f.au", "b/notes.txt"]),
        ("**/*.[fm]*", ["b/d/e.mp3"]),
        ("b/**", ["b/c.FLAC", "b/d/e.mp3", "b/e/f.au", "b/notes.txt"]),
        ("?.wav", ["a.wav"]),
        # Names that look like a pattern, of files that exist.
        ("x[1]y.wav", ["x[1]y.wav"]),
        ("z*.ogg", ["z*.ogg"]),
    ],
)
def test_a_name_stands_for_recordings(tree: Path, name: str, found: list[str]) -> None:
    assert [str(path) for path in recordings(name)] == found


def test_the_home_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert list(recordings("~/a.wav")) == [tree / "a.wav"]
    (tree / "~").mkdir()
    (tree / "~" / "a.wav").touch()
    assert list(recordings("~/a.wav")) == [Path("~/a.wav")]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"sound"))
    monkeypatch.setattr(sys, "stdin", stream)
    assert list(recordings("-")) == [stream.buffer]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="standard input: pipe one in"):
        list(recordings("-"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.wav", "nowhere.wav does not exist"),
        ("nowhere/*.wav", r"nowhere/\*.wav matches no sound file"),
        ("empty", "empty holds no sound file: expected names ending in .aif"),
        ("", "an empty name"),
        ("a.wav/b.wav", "does not exist"),
        ("clips/a.wav", "DVC cannot pull"),
    ],
)
def test_a_name_that_stands_for_nothing(tree: Path, name: str, reason: str) -> None:
    (tree / "empty").mkdir()
    (tree / "clips.dvc").touch()
    with pytest.raises(KwsError, match=reason):
        list(recordings(name))


def test_a_named_pipe_in_a_folder_is_no_recording(tree: Path) -> None:
    expected = list(recordings("."))
    os.mkfifo("pipe.wav")
    assert list(recordings(".")) == expected


def test_a_link_that_leads_nowhere_is_kept_for_the_reader_to_report(tree: Path) -> None:
    (tree / "link.wav").symlink_to("gone.wav")
    assert list(recordings("link.wav")) == [Path("link.wav")]
