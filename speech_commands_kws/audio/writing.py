"""Clips as 16-bit WAV files."""

import wave
from pathlib import Path

import numpy as np

from speech_commands_kws.files.atomic import written_to


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
