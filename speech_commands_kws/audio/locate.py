"""Finds the recordings that a user names: files, folders, patterns, standard input."""

import os
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
    """Sound files but hidden ones, the leftovers of other programs such as `._clip.wav`, and no named pipes.

    Folders that may not be read come last: reading them fails with the reason, as a file does that may not be read.
    """
    sounds, closed_folders = [], []
    for parent, folders, names in os.walk(folder, onerror=closed_folders.append):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            is_sound = not name.startswith(".") and path.suffix.lower() in AUDIO_SUFFIXES
            if is_sound and not path.is_fifo():
                sounds.append(path)
    return [*sounds, *(Path(error.filename) for error in closed_folders)]
