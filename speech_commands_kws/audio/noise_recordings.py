"""Background noise by name: read from a folder, and divided into a training part and a held-out part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.locate import sounds_below
from speech_commands_kws.audio.reading import AudioError, stream_audio
from speech_commands_kws.errors import KwsError


def read_noises(
    folder: str | Path, sample_rate: int, seconds: float | None
) -> dict[str, np.ndarray]:
    """`read_recordings` of one folder by their paths in it."""
    folder = Path(folder).expanduser()
    found = read_recordings(find_recordings([folder]), sample_rate, seconds)
    return {path.relative_to(folder).as_posix(): noise for path, noise in found}


def find_recordings(folders: Iterable[str | Path]) -> dict[Path, list[Path]]:
    """The recordings in each folder and in those below it.

    Raises:
        KwsError: there is no folder.
    """
    found = {}
    for folder in (Path(folder).expanduser() for folder in folders):
        if not folder.is_dir():
            raise KwsError(f"expected a folder of recordings at {folder}, found none")
        found[folder] = sorted(sounds_below(folder))
    return found


def read_recordings(
    found: Mapping[Path, Sequence[Path]], sample_rate: int, seconds: float | None
) -> Iterator[tuple[Path, np.ndarray]]:
    """Recordings by their folders, float32, of any length; what cannot be read is passed over.

    Args:
        sample_rate: of what is returned (Hz).
        seconds: at most so much in all, the same from the beginning of each recording; None: all of it.

    Raises:
        KwsError: there is nothing in a folder that can be read.
    """
    count = sum(map(len, found.values()))
    each = round(seconds * sample_rate / max(count, 1)) if seconds else None
    for folder, paths in found.items():
        is_empty = True
        for path in paths:
            try:
                recording = np.concatenate(list(stream_audio(path, sample_rate)))[:each].copy()
            except AudioError:
                continue
            is_empty = False
            yield path, recording
        if is_empty:
            raise KwsError(f"expected recordings below {folder}, found none that can be read")


def training_portions(
    noises: Iterable[np.ndarray], held_out: float, clip_samples: int
) -> list[np.ndarray]:
    """The training part of recordings: their beginnings.

    Args:
        held_out: share of each recording that it does not hear; a clip's length at least, unless it is zero.
    """
    if not held_out:
        return list(noises)
    return [noise[: _border(len(noise), held_out, clip_samples)] for noise in noises]


def noise_holdout(noise: np.ndarray, held_out: float, clip_samples: int) -> np.ndarray:
    """The held-out part of a recording: its end."""
    return noise[_border(len(noise), held_out, clip_samples) :]


def _border(samples: int, held_out: float, clip_samples: int) -> int:
    return max(samples - max(round(held_out * samples), clip_samples), 0)
