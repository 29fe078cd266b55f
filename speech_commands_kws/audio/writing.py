"""Sound in 16 bits: WAV files, and arrays that take half the memory of floats."""

import wave
from pathlib import Path

import numpy as np

from speech_commands_kws.files.atomic import written_to

INT16_SCALE = 2**15


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Floats within ±1 as int16, rounded; what a 16-bit file held comes out as it was."""
    return np.clip(np.rint(waveform * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write float (T,) in -1 to 1 as a 16-bit WAV file, making its folder.

    By the standard library, because soundfile waits for the disk after each file, which doubles
    the time of a tree.
    """
    samples = np.round(waveform * np.iinfo(np.int16).max).astype("<i2")
    with written_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(samples.itemsize)
            sound.setframerate(sample_rate)
            sound.writeframes(samples.tobytes())
