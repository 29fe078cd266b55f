"""Takes of a word: recorded, judged, trimmed to the word, and kept.

Waveforms are float32 (T,) within ±1. Levels are dBFS of the root mean square of a frame.
"""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.levels import FULL_SCALE, frame_levels
from speech_commands_kws.audio.microphone import Microphone
from speech_commands_kws.audio.reading import resample
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.errors import KwsError, check_flag, check_number, check_whole, display_name
from speech_commands_kws.files.atomic import replacing

FRAME_SECONDS = 0.01
# Quiet frames between the sounds of a word, such as the closure of a "t".
FLOOR_PERCENTILE = 10
SPEAKER = re.compile(r"\w[\w.-]*")
NUMBER_MARK = "_nohash_"
REPEAT = "r"


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


@dataclass(frozen=True)
class Session:
    """One speaker says one word again and again.

    Args:
        device: what hears and plays.
        folder: of the word.
        speaker: part of the names of the clips.
        criteria: what a take must be.
        sample_rate: of the clips (Hz).
        take_seconds: how long the device listens for a word.
        countdown: seconds before it listens.
        playback: whether each take is played, and kept only if the speaker accepts it.
        attempts: bad takes in a row after which something is wrong with the microphone.
    """

    device: Microphone
    folder: Path
    speaker: str
    criteria: TakeCriteria
    sample_rate: int
    take_seconds: float
    countdown: int
    playback: bool
    attempts: int

    def __post_init__(self) -> None:
        check_speaker(self.speaker)
        check_whole(attempts=self.attempts, sample_rate=self.sample_rate)
        check_whole(0, countdown=self.countdown)
        check_flag(playback=self.playback)
        check_number(take_seconds=self.take_seconds)
        longest = self.criteria.longest_seconds
        if not self.take_seconds > longest:
            raise KwsError(
                f"take_seconds must be more than demands.longest_seconds={longest}, got {self.take_seconds}"
            )

    def record(self, count: int) -> Iterator[Path]:
        """Record until there are `count` clips; what is recorded stays when it is interrupted.

        Raises:
            KwsError: there are as many already, or too many takes in a row were bad.
        """
        check_whole(count=count)
        there, word = recorded(self.folder, self.speaker), self.folder.name
        if there >= count:
            raise KwsError(
                f"{there} clips by {self.speaker} lie in {display_name(self.folder)} already: "
                f"ask for more, such as count={there + count}"
            )
        say(
            f"{count - there} clips by {self.speaker} into {display_name(self.folder)}; Ctrl-C ends"
        )
        try:
            for number in range(there, count):
                yield self._record_clip(f"{word} ({number + 1} of {count})")
        except (KeyboardInterrupt, KwsError):
            kept = recorded(self.folder, self.speaker)
            say(f"{kept} of {count} are there; the same command goes on")
            raise

    def _record_clip(self, prompt: str) -> Path:
        """One clip, as often as it takes to be good."""
        bad, rate = 0, self.device.sample_rate
        while bad < self.attempts:
            waveform = self._take(prompt)
            reason = fault(waveform, rate, self.criteria)
            if reason is not None:
                say(f"{reason}; once more")
                bad += 1
                continue
            word = trim(waveform, rate, self.criteria)
            if not self.playback or self._is_accepted(word):
                clip = resample(word, rate, self.sample_rate)
                return keep(clip, self.sample_rate, self.folder, self.speaker)
        raise KwsError(
            f"{self.attempts} takes in a row were no good, the last one: {reason}; "
            "look at the microphone and its level"
        )

    def _take(self, prompt: str) -> np.ndarray:
        for seconds in range(self.countdown, 0, -1):
            say(f"{prompt} in {seconds} …")
            time.sleep(1)
        say(f"{prompt}: now")
        return self.device.record(self.take_seconds)

    def _is_accepted(self, word: np.ndarray) -> bool:
        self.device.play(word)
        say("Enter keeps it, r repeats it: ", end="")
        return sys.stdin.readline().strip().lower() != REPEAT


def say(line: str, end: str = "\n") -> None:
    # Standard output is for the names of the clips.
    print(line, end=end, file=sys.stderr, flush=True)


def word_frames(levels: np.ndarray, trim_db: float, pause_seconds: float) -> tuple[int, int]:
    """First and last frame of the word around the loudest frame; arguments as of `TakeCriteria`."""
    loud = (levels > levels.max() - trim_db).nonzero()[0]
    pause = pause_seconds / FRAME_SECONDS
    # The stretches of loud frames between which there is a longer pause.
    breaks = (np.diff(loud) - 1 > pause).nonzero()[0] + 1
    stretches = np.split(loud, breaks)
    word = next(stretch for stretch in stretches if levels.argmax() in stretch)
    return int(word[0]), int(word[-1])


def trim(waveform: np.ndarray, sample_rate: int, criteria: TakeCriteria) -> np.ndarray:
    """The word with its margins."""
    levels = frame_levels(waveform, round(FRAME_SECONDS * sample_rate))
    first, last = word_frames(levels, criteria.trim_db, criteria.pause_seconds)
    margin = criteria.margin_seconds
    start = max(first * FRAME_SECONDS - margin, 0)
    stop = (last + 1) * FRAME_SECONDS + margin
    return waveform[round(start * sample_rate) : round(stop * sample_rate)]


def fault(waveform: np.ndarray, sample_rate: int, criteria: TakeCriteria) -> str | None:
    """What is wrong with a whole take and what to do; None for a good one."""
    if not np.isfinite(waveform).all():
        return "the device gives numbers that are no sound: choose another with microphone.device="
    levels = frame_levels(waveform, round(FRAME_SECONDS * sample_rate))
    first, last = word_frames(levels, criteria.trim_db, criteria.pause_seconds)
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
    """Raise KwsError for a name that could not be read back from a file name."""
    if not SPEAKER.fullmatch(speaker) or NUMBER_MARK in speaker:
        raise KwsError(
            f"speaker: expected a name of letters, digits, - and _, got {speaker!r}: choose another"
        )


def recorded(folder: Path, speaker: str) -> int:
    """Number of clips of the speaker."""
    return len(list(folder.glob(f"{speaker}{NUMBER_MARK}*.wav")))


def keep(waveform: np.ndarray, sample_rate: int, folder: Path, speaker: str) -> Path:
    """Write a 16-bit WAV file under the next free name, as a whole; what is there is never overwritten."""
    paths = (folder / f"{speaker}{NUMBER_MARK}{number}.wav" for number in count())
    path = next(path for path in paths if not path.exists())
    with replacing(path) as partial:
        write_wav(partial, np.clip(waveform, -1, 1), sample_rate)
    return path
