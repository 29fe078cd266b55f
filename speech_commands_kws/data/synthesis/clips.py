"""Synthetic clips: a word spoken by espeak-ng in a clip of fixed length over a faint noise floor.

Run as a program it makes one chunk of the synthetic speech: a pickled `Chunk` on standard input,
WAV files out. A process a chunk, because what espeak-ng says depends on what the process said before.
Levels are dBFS of the root mean square.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.levels import amplitude
from speech_commands_kws.audio.reading import resample
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.synthesis.espeak import Espeak, Voice
from speech_commands_kws.data.synthesis.noise import coloured_noise, set_level
from speech_commands_kws.errors import KwsError

PROGRAM = "speech_commands_kws.data.synthesis.clips"
# espeak-ng at its own volume peaks near 0.1; a word below this was not spoken.
AUDIBLE_PEAK = 1e-3
# Anything 60 dB below the peak at either end is not part of the word.
TRIM_BELOW_PEAK = 1e-3
# A word that is too long is spoken again, faster than the ratio asks for by this factor.
HURRY = 1.1
HURRIES = 6
# Words per minute that a person could still follow; espeak-ng itself goes on to 450.
FASTEST_RATE = 300


@dataclass(frozen=True)
class Take:
    """One clip to speak.

    `path` is relative to the tree; `position` places the word in the room the clip leaves it, 0
    first to 1 last; `floor_colour` as in `coloured_noise`.
    """

    path: str
    word: str
    voice: Voice
    position: float
    level_db: float
    floor_db: float
    floor_colour: float
    noise_seed: int


@dataclass(frozen=True)
class Babble:
    """A background recording: all `voices` say `text` at once, again and again for `seconds`."""

    path: str
    text: str
    voices: list[Voice]
    seconds: float
    level_db: float
    seed: int


@dataclass(frozen=True)
class Turn:
    """What one voice says at a stretch, and the pause behind it."""

    text: str
    voice: Voice
    level_db: float
    pause_seconds: float


@dataclass(frozen=True)
class Talk:
    """Continuous speech: turns, of which as much is kept as fills `seconds`."""

    path: str
    turns: list[Turn]
    seconds: float


@dataclass(frozen=True)
class Chunk:
    """What one process makes below the folder `root`, in this order."""

    root: str
    sample_rate: int
    clip_samples: int
    takes: list[Take]
    babbles: list[Babble]
    talks: Sequence[Talk] = ()


def speak_clip(engine: Espeak, take: Take, sample_rate: int, clip_samples: int) -> np.ndarray:
    """Speak one take; shape float32 (clip_samples,), peak below 1.

    Raises KwsError where espeak-ng says nothing, or the word fills more than the clip even when
    spoken fast.
    """
    speech = set_level(speak_word(engine, take, sample_rate, clip_samples), take.level_db)
    generator = np.random.default_rng(take.noise_seed)
    floor = coloured_noise(clip_samples, take.floor_colour, sample_rate, generator)
    clip = amplitude(take.floor_db) * floor
    start = round(take.position * (clip_samples - len(speech)))
    clip[start : start + len(speech)] += speech
    return np.clip(clip, -1, 1)


def speak_word(engine: Espeak, take: Take, sample_rate: int, max_samples: int) -> np.ndarray:
    """The word without the silence around it, float32 (T,) of at most `max_samples`."""
    voice = take.voice
    for _ in range(HURRIES):
        speech = trim(engine.say(take.word, voice))
        if not len(speech):
            raise KwsError(
                f"espeak-ng says nothing for the word {take.word!r}: spell it in English letters"
            )
        speech = resample(speech, engine.sample_rate, sample_rate)
        excess = len(speech) / max_samples
        if excess <= 1:
            return speech
        voice = replace(voice, rate=min(FASTEST_RATE, round(voice.rate * excess * HURRY)))
    raise KwsError(
        f"the word {take.word!r} is longer than a clip of {max_samples / sample_rate:g} s even "
        "when spoken fast: choose a shorter word or a longer clip"
    )


def trim(waveform: np.ndarray) -> np.ndarray:
    """Trim near-silence at both ends; nothing is left if nothing is audible. Shape: (T,)."""
    magnitude = np.abs(waveform)
    peak = magnitude.max(initial=0)
    if peak < AUDIBLE_PEAK:
        return waveform[:0]
    loud = np.flatnonzero(magnitude > TRIM_BELOW_PEAK * peak)
    return waveform[loud[0] : loud[-1] + 1]


def speak_babble(engine: Espeak, babble: Babble, sample_rate: int) -> np.ndarray:
    """Mix the voices, each started somewhere in its text. Shape: float32 (T,)."""
    samples = round(babble.seconds * sample_rate)
    generator = np.random.default_rng(babble.seed)
    mixed = np.zeros(samples, np.float32)
    for voice in babble.voices:
        speech = resample(engine.say(babble.text, voice), engine.sample_rate, sample_rate)
        # Rolled by a random amount and repeated to the length asked for.
        start = generator.integers(len(speech))
        mixed += set_level(np.resize(np.roll(speech, start), samples), babble.level_db)
    return set_level(mixed, babble.level_db)


def speak_talk(engine: Espeak, talk: Talk, sample_rate: int) -> np.ndarray:
    """One turn after the other. Shape: float32 (T,)."""
    samples = round(talk.seconds * sample_rate)
    spoken, length = [], 0
    for turn in talk.turns:
        speech = resample(engine.say(turn.text, turn.voice), engine.sample_rate, sample_rate)
        pause = np.zeros(round(turn.pause_seconds * sample_rate), np.float32)
        spoken += [set_level(speech, turn.level_db), pause]
        length += len(speech) + len(pause)
        if length >= samples:
            break
    return np.concatenate(spoken)[:samples]


def write_chunk(chunk: Chunk) -> None:
    """Speak and write everything in the chunk as 16-bit WAV files."""
    engine = Espeak()
    for take in chunk.takes:
        clip = speak_clip(engine, take, chunk.sample_rate, chunk.clip_samples)
        write_wav(Path(chunk.root) / take.path, clip, chunk.sample_rate)
    for babble in chunk.babbles:
        waveform = speak_babble(engine, babble, chunk.sample_rate)
        write_wav(Path(chunk.root) / babble.path, waveform, chunk.sample_rate)
    for talk in chunk.talks:
        waveform = speak_talk(engine, talk, chunk.sample_rate)
        write_wav(Path(chunk.root) / talk.path, waveform, chunk.sample_rate)


def run_chunks(chunks: Sequence[Chunk]) -> None:
    """Make the chunks, as many at a time as there are processors; the first failure ends it."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as executor:
        runs = executor.map(run_chunk, chunks)
        for _ in progress(runs, len(chunks), doing="speaking"):
            pass


def run_chunk(chunk: Chunk) -> None:
    """Make the chunk in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM], input=pickle.dumps(chunk), capture_output=True
    )
    if done.returncode != 0:
        last_lines = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise KwsError(
            last_lines[0] if last_lines else f"espeak-ng died with status {done.returncode}"
        )


def main() -> None:
    """Make the chunk on standard input; a mistake is one line on standard error and status 1."""
    try:
        write_chunk(pickle.load(sys.stdin.buffer))
    except KwsError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
