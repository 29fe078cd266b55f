"""Background noise by name: read from a folder, and divided into a training part and a held-out part."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.locate import sounds_below
from speech_commands_kws.audio.reading import AudioError, read_audio
from speech_commands_kws.errors import KwsError


def read_noises(
    folder: str | Path, sample_rate: int, seconds: float | None
) -> dict[str, np.ndarray]:
    """The recordings of a folder and of those below it, float32, by their paths; what cannot be read is passed over.

    Args:
        sample_rate: of what is returned (Hz).
        seconds: at most so much in all, the same from the beginning of each recording; None: all of it.

    Raises:
        KwsError: there is no folder, or nothing in it that can be read.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise KwsError(f"expected a folder of noise recordings at {folder}, found none")
    paths = sorted(sounds_below(folder))
    each = round(seconds * sample_rate / max(len(paths), 1)) if seconds else None
    recordings = {}
    for path in paths:
        try:
            noise = read_audio(path, sample_rate)[:each].copy()
        except AudioError:
            continue
        recordings[path.relative_to(folder).as_posix()] = noise
    if not recordings:
        raise KwsError(f"expected noise recordings below {folder}, found none that can be read")
    return recordings


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
