"""Finds the recordings that a user names: files, folders, patterns, standard input."""

import sys
from collections.abc import Iterator
from glob import glob
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from speech_commands_kws.audio.reading import AUDIO_SUFFIXES, AudioError
from speech_commands_kws.errors import display_name
from speech_commands_kws.files.dvc import ensure_present

STANDARD_INPUT = "-"
PATTERN_CHARACTERS = frozenset("*?[")


def recordings(name: str) -> Iterator[Path | BinaryIO]:
    """The recordings that one name stands for, in a fixed order.

    Args:
        name: a file; a folder, which stands for every sound file below it; a pattern such as
            `clips/**/*.wav`; or `-`, a sound file on standard input. A file whose own name looks
            like a pattern is taken as that file.

    Raises:
        AudioError: the name stands for nothing.
        KwsError: nothing is there but a DVC pointer.
    """
    if not name:
        raise AudioError(
            "an empty name stands for no recording: name a file, a folder or a pattern"
        )
    path = Path(name)
    if not _is_there(path) and name.startswith("~/"):
        path = path.expanduser()
    if name == STANDARD_INPUT:
        yield _standard_input()
    elif path.is_dir():
        yield from _found(sounds_below(path), f"{display_name(path)} holds no sound file")
    elif _is_there(path):
        yield path
    elif PATTERN_CHARACTERS & set(name):
        yield from _found(_matches(str(path)), f"{display_name(path)} matches no sound file")
    else:
        yield ensure_present(path)


def _is_there(path: Path) -> bool:
    """A link that leads nowhere is there too, and fails with the reason when it is read."""
    return path.exists() or path.is_symlink()


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError(
            "- stands for a sound file on standard input: pipe one in, as in `cat clip.wav | kws "
            "infer -`"
        )
    return sys.stdin.buffer


def _found(sounds: list[Path], complaint: str) -> list[Path]:
    if not sounds:
        raise AudioError(
            f"{complaint}: expected names ending in {' '.join(sorted(AUDIO_SUFFIXES))}"
        )
    return sounds


def _matches(pattern: str) -> list[Path]:
    matches = map(Path, sorted(glob(pattern, recursive=True)))
    sounds = (sounds_below(match) if match.is_dir() else [match] for match in matches)
    # With `**` a file is found by itself and once more below its folder.
    return list(dict.fromkeys(chain.from_iterable(sounds)))


def sounds_below(folder: Path) -> list[Path]:
    """Sound files but hidden ones, the leftovers of other programs such as `._clip.wav`, and no named pipes."""
    sounds = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not path.name.startswith(".")
        and (path.is_file() or path.is_symlink())
    ]
    return sorted(sounds, key=lambda path: (path.parent, path.name))
