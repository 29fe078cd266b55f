"""Synthetic clips: a word in a clip of fixed length over a faint noise floor.

Run as a program it makes one chunk of the synthetic speech: a pickled `Chunk` on standard input,
WAV files out. A process a chunk, because what espeak-ng says depends on what the process said before.
Levels are dBFS of the root mean square.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.levels import amplitude
from speech_commands_kws.audio.reading import resample
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.synthesis.noise import coloured_noise, set_level
from speech_commands_kws.data.synthesis.speakers import Person, Voices
from speech_commands_kws.errors import KwsError

PROGRAM = "speech_commands_kws.data.synthesis.clips"
# Engines peak near 0.1 or more; a word below this was not spoken.
AUDIBLE_PEAK = 1e-3
# Anything 60 dB below the peak at either end is not part of the word.
TRIM_BELOW_PEAK = 1e-3
# A word that is too long is spoken again, faster than the ratio asks for by this factor.
HURRY = 1.1
HURRIES = 6
# A speed that a person could still follow.
FASTEST = 1.7

SEEDS = 2**32  # of a line, and of the noise under a word


@dataclass(frozen=True)
class Line:
    """What one person says; `seed` is for what differs between two takes of the same."""

    text: str
    person: Person
    seed: int


@dataclass(frozen=True)
class Take:
    """One clip to speak.

    `path` is relative to the tree; `position` places the word in the room the clip leaves it, 0
    first to 1 last; `floor_colour` as in `coloured_noise`.
    """

    path: str
    line: Line
    position: float
    level_db: float
    floor_db: float
    floor_colour: float
    noise_seed: int


@dataclass(frozen=True)
class Babble:
    """A background recording: all `lines` are said at once, again and again for `seconds`."""

    path: str
    lines: list[Line]
    seconds: float
    level_db: float
    seed: int


@dataclass(frozen=True)
class Turn:
    """What one person says at a stretch, and the pause behind it."""

    line: Line
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
    voices: Mapping[str, Voices]
    sample_rate: int
    clip_samples: int
    takes: list[Take]
    babbles: list[Babble]
    talks: Sequence[Talk] = ()


def speak(voices: Mapping[str, Voices], line: Line, sample_rate: int) -> np.ndarray:
    """The line as its person says it, float32 (T,); empty where the engine says nothing."""
    person, generator = line.person, np.random.default_rng(line.seed)
    # Played slower, all frequencies of a voice are those of a larger person; so it has to speak faster.
    said, rate = voices[person.engine].say(
        line.text, person.voice, person.speed * person.size, generator
    )
    return resample(said, round(rate / person.size), sample_rate)


def speak_clip(
    voices: Mapping[str, Voices], take: Take, sample_rate: int, clip_samples: int
) -> np.ndarray:
    """Speak one take; shape float32 (clip_samples,), peak below 1.

    Raises KwsError where the engine says nothing, or the word fills more than the clip even when
    spoken fast.
    """
    speech = speak_word(voices, take.line, sample_rate, clip_samples)
    speech = set_level(speech, take.level_db)
    generator = np.random.default_rng(take.noise_seed)
    floor = coloured_noise(clip_samples, take.floor_colour, sample_rate, generator)
    clip = amplitude(take.floor_db) * floor
    start = round(take.position * (clip_samples - len(speech)))
    clip[start : start + len(speech)] += speech
    return np.clip(clip, -1, 1)


def speak_word(
    voices: Mapping[str, Voices], line: Line, sample_rate: int, max_samples: int
) -> np.ndarray:
    """The word without the silence around it, float32 (T,) of at most `max_samples`."""
    for _ in range(HURRIES):
        speech = trim(speak(voices, line, sample_rate))
        person = line.person
        if not len(speech):
            raise KwsError(
                f"{person.engine} says nothing for the word {line.text!r}: spell it in the letters of its language"
            )
        excess = len(speech) / max_samples
        if excess <= 1:
            return speech
        faster = min(FASTEST, person.speed * excess * HURRY)
        line = replace(line, person=replace(person, speed=faster))
    raise KwsError(
        f"the word {line.text!r} is longer than a clip of {max_samples / sample_rate:g} s even "
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


def speak_babble(voices: Mapping[str, Voices], babble: Babble, sample_rate: int) -> np.ndarray:
    """Mix the voices, each started somewhere in its text. Shape: float32 (T,)."""
    samples = round(babble.seconds * sample_rate)
    generator = np.random.default_rng(babble.seed)
    mixed = np.zeros(samples, np.float32)
    for line in babble.lines:
        speech = speak(voices, line, sample_rate)
        # Rolled by a random amount and repeated to the length asked for.
        start = generator.integers(len(speech))
        mixed += set_level(np.resize(np.roll(speech, start), samples), babble.level_db)
    return set_level(mixed, babble.level_db)


def speak_talk(voices: Mapping[str, Voices], talk: Talk, sample_rate: int) -> np.ndarray:
    """One turn after the other. Shape: float32 (T,)."""
    samples = round(talk.seconds * sample_rate)
    spoken, length = [], 0
    for turn in talk.turns:
        speech = speak(voices, turn.line, sample_rate)
        pause = np.zeros(round(turn.pause_seconds * sample_rate), np.float32)
        spoken += [set_level(speech, turn.level_db), pause]
        length += len(speech) + len(pause)
        if length >= samples:
            break
    return np.concatenate(spoken)[:samples]


def write_chunk(chunk: Chunk) -> None:
    """Speak and write everything in the chunk as 16-bit WAV files."""

    def write(path: str, waveform: np.ndarray) -> None:
        write_wav(Path(chunk.root) / path, waveform, chunk.sample_rate)

    for take in chunk.takes:
        write(take.path, speak_clip(chunk.voices, take, chunk.sample_rate, chunk.clip_samples))
    for babble in chunk.babbles:
        write(babble.path, speak_babble(chunk.voices, babble, chunk.sample_rate))
    for talk in chunk.talks:
        write(talk.path, speak_talk(chunk.voices, talk, chunk.sample_rate))


def run_chunks(chunks: Sequence[Chunk]) -> None:
    """Make the chunks, as many at a time as there are processors; the first failure ends it."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as executor:
        runs = executor.map(run_chunk, chunks)
        for _ in progress(runs, len(chunks), doing="speaking"):
            pass


def run_chunk(chunk: Chunk) -> None:
    """Make the chunk in a fresh process."""
    # Copies have not spoken: a running engine cannot be sent.
    chunk = replace(chunk, voices={name: replace(engine) for name, engine in chunk.voices.items()})
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM], input=pickle.dumps(chunk), capture_output=True
    )
    if done.returncode != 0:
        last_lines = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise KwsError(
            last_lines[0]
            if last_lines
            else f"the speaking process died with status {done.returncode}"
        )


def main() -> None:
    """Make the chunk on standard input; a mistake is one line on standard error and status 1."""
    try:
        write_chunk(pickle.load(sys.stdin.buffer))
    except KwsError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
