"""Finds the recordings that a user names: files, folders, patterns, standard input."""

import os
import sys
from collections.abc import Iterator
from glob import glob
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
    path = Path(name)
    if not _is_there(path) and name.startswith("~/"):
        path = path.expanduser()
    if not name:
        raise AudioError(
            "an empty name stands for no recording: name a file, a folder or a pattern"
        )
    if name == STANDARD_INPUT:
        yield _standard_input()
    elif path.is_dir():
        yield from _found(_sounds_below(path), f"{display_name(path)} holds no sound file")
    elif _is_there(path):
        yield path
    elif PATTERN_CHARACTERS & set(name):
        yield from _found(_matches(str(path)), f"{display_name(path)} matches no sound file")
    else:
        yield ensure_present(path)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise AudioError(f"{display_name(path)} cannot be opened: {error.strerror}") from None
    return True


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError(
            "- stands for a sound file on standard input: pipe one in, as in `cat clip.wav | kws "
            "infer -`"
        )
    return sys.stdin.buffer


def _found(sounds: Iterator[Path], complaint: str) -> Iterator[Path]:
    first = next(sounds, None)
    if first is None:
        raise AudioError(
            f"{complaint}: expected names ending in {' '.join(sorted(AUDIO_SUFFIXES))}"
        )
    yield first
    yield from sounds


def _matches(pattern: str) -> Iterator[Path]:
    seen = set()
    for match in map(Path, sorted(glob(pattern, recursive=True))):
        for sound in _sounds_below(match) if match.is_dir() else [match]:
            # With `**` a file is found by itself and once more below its folder.
            if sound not in seen:
                seen.add(sound)
                yield sound


def _sounds_below(folder: Path) -> Iterator[Path]:
    closed_folders: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=closed_folders.append):
        folders.sort()
        for name in sorted(names):
            # Hidden files are the leftovers of other programs, such as `._clip.wav` by macOS.
            path = Path(parent, name)
            is_sound = not name.startswith(".") and path.suffix.lower() in AUDIO_SUFFIXES
            # Opening a named pipe waits for a program that writes to it.
            if is_sound and not path.is_fifo():
                yield path
    # Reading them fails with the reason, in the same way as a file that may not be read.
    yield from (Path(error.filename) for error in closed_folders)
