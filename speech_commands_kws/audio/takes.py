"""Takes of a word: where the word lies in what a microphone heard, whether it is good enough, and where it is kept.

Waveforms are float32 (T,) within ±1. Levels are dBFS of the root mean square of a frame.
"""

import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np

from speech_commands_kws.audio.levels import FULL_SCALE, level_db
from speech_commands_kws.errors import KwsError

FRAME_SECONDS = 0.01
# Quiet frames between the sounds of a word, such as the closure of a "t".
FLOOR_PERCENTILE = 10
SPEAKER = re.compile(r"\w[\w.-]*")
NUMBER_MARK = "_nohash_"


@dataclass(frozen=True)
class TakeCriteria:
    """What a take must be, and how the word is found in it.

    Args:
        trim_db: a frame so far below the loudest one is not part of the word (dB).
        pause_seconds: the longest quiet stretch within a word.
        margin_seconds: kept before and after the word.
        quiet_db: the loudest frame of a word must reach this level (dBFS).
        noise_db: so far must it stand out from the quietest part of the take (dB).
        clipped_samples: so many samples at full scale are too many.
        shortest_seconds: a shorter sound is a click.
        longest_seconds: a longer one does not fit into a clip.
    """

    trim_db: float
    pause_seconds: float
    margin_seconds: float
    quiet_db: float
    noise_db: float
    clipped_samples: int
    shortest_seconds: float
    longest_seconds: float


def frame_levels(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """(number of whole frames,) levels in dBFS."""
    frame = round(FRAME_SECONDS * sample_rate)
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    return level_db(np.mean(np.square(frames), axis=1))


def word_frames(levels: np.ndarray, criteria: TakeCriteria) -> tuple[int, int]:
    """First and last frame of the word around the loudest frame."""
    loud = (levels > levels.max() - criteria.trim_db).nonzero()[0]
    pause = criteria.pause_seconds / FRAME_SECONDS
    # The stretches of loud frames between which there is a longer pause.
    breaks = (np.diff(loud) - 1 > pause).nonzero()[0] + 1
    stretches = np.split(loud, breaks)
    word = next(stretch for stretch in stretches if levels.argmax() in stretch)
    return int(word[0]), int(word[-1])


def trim(waveform: np.ndarray, sample_rate: int, criteria: TakeCriteria) -> np.ndarray:
    """The word with its margins."""
    first, last = word_frames(frame_levels(waveform, sample_rate), criteria)
    margin = criteria.margin_seconds
    start = max(first * FRAME_SECONDS - margin, 0)
    stop = (last + 1) * FRAME_SECONDS + margin
    return waveform[round(start * sample_rate) : round(stop * sample_rate)]


def fault(waveform: np.ndarray, sample_rate: int, criteria: TakeCriteria) -> str | None:
    """What is wrong with a whole take and what to do; None for a good one."""
    if not np.isfinite(waveform).all():
        return "the device gives numbers that are no sound: choose another with microphone.device="
    levels = frame_levels(waveform, sample_rate)
    first, last = word_frames(levels, criteria)
    seconds = (last + 1 - first) * FRAME_SECONDS
    loudest, floor = levels.max(), np.percentile(levels, FLOOR_PERCENTILE)
    if np.count_nonzero(np.abs(waveform) >= FULL_SCALE) >= criteria.clipped_samples:
        return "too loud, it is clipped: move away or turn the microphone down"
    if loudest < criteria.quiet_db:
        return f"too quiet ({loudest:.0f} dBFS): move nearer or turn the microphone up"
    if loudest - floor < criteria.noise_db:
        return f"only {loudest - floor:.0f} dB above the noise: speak up or find a quieter place"
    if seconds < criteria.shortest_seconds:
        return f"only {seconds:.2f} s of sound: say the whole word"
    if seconds > criteria.longest_seconds:
        return f"{seconds:.2f} s of sound: say the word once, within {criteria.longest_seconds:g} s"
    return None


def check_speaker(speaker: str) -> None:
    """Raise KwsError for a name that the name of a file could not give back."""
    if not SPEAKER.fullmatch(speaker) or NUMBER_MARK in speaker:
        raise KwsError(
            f"speaker: expected a name of letters, digits, - and _, got {speaker!r}: choose another"
        )


def clip_path(folder: Path, speaker: str, number: int) -> Path:
    return folder / f"{speaker}{NUMBER_MARK}{number}.wav"


def free_numbers(folder: Path, speaker: str) -> Iterator[int]:
    """Numbers that no clip of the speaker has yet, from 0."""
    return (number for number in count() if not clip_path(folder, speaker, number).exists())


def recorded(folder: Path, speaker: str) -> int:
    """How many clips of the speaker are there."""
    return len(list(folder.glob(f"{speaker}{NUMBER_MARK}*.wav")))


def keep(waveform: np.ndarray, sample_rate: int, folder: Path, speaker: str) -> Path:
    """Write a 16-bit WAV file under the next free name, as a whole; what is there is never overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = np.clip(waveform, -1, 1) * np.iinfo(np.int16).max
    partial = folder / f".{speaker}.{uuid4().hex}.partial"
    try:
        with wave.open(str(partial), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(np.dtype(np.int16).itemsize)
            sound.setframerate(sample_rate)
            sound.writeframes(np.round(samples).astype("<i2").tobytes())
        for number in free_numbers(folder, speaker):
            path = clip_path(folder, speaker, number)
            try:
                # Unlike renaming it fails where a file has come up in the meantime.
                path.hardlink_to(partial)
            except FileExistsError:
                continue
            return path
    finally:
        partial.unlink(missing_ok=True)
