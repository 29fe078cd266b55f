"""The synthetic speakers: each is one fixed voice, in the split of that voice."""

import hashlib
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from speech_commands_kws.data.speech_tree import (
    TEST,
    TRAIN,
    VALIDATION,
    SpeechTree,
    published_split,
)
from speech_commands_kws.data.synthesis.espeak import Voice

if TYPE_CHECKING:
    from speech_commands_kws.data.sources.synthetic import SyntheticSource

HASH_DIGITS = 8
# One voice of every ten is for validation and one for testing: the shares of the published split.
VOICES_PER_ROW = 10
VALIDATION_COLUMN, TEST_COLUMN = 8, 9
# An independent stream of random numbers for each speaker.
CAST_STREAM = 0


@dataclass(frozen=True)
class Speaker:
    """`name` is eight hexadecimal digits; levels are dBFS of the root mean square."""

    name: str
    voice: Voice
    level_db: float
    floor_db: float
    floor_colour: float


def cast_speaker(source: "SyntheticSource", number: int) -> Speaker:
    """The speaker of that number, the same however many there are."""
    generator = np.random.default_rng([source.seed, number, CAST_STREAM])
    voice_number = number % len(source.voices)
    voice = Voice(
        accent=str(generator.choice(source.accents)),
        variant=source.voices[voice_number],
        pitch=round(generator.uniform(*source.pitch)),
        pitch_range=round(generator.uniform(*source.pitch_range)),
        rate=round(generator.uniform(*source.rate)),
    )
    return Speaker(
        name=speaker_name(source.seed, number, voice_split(voice_number)),
        voice=voice,
        level_db=generator.uniform(*source.level_db),
        floor_db=generator.uniform(*source.floor_db),
        floor_colour=generator.uniform(*source.floor_colour),
    )


def voice_split(voice_number: int) -> str:
    """The split that all speakers with this voice belong to."""
    columns = {VALIDATION_COLUMN: VALIDATION, TEST_COLUMN: TEST}
    return columns.get(voice_number % VOICES_PER_ROW, TRAIN)


def speaker_name(seed: int, number: int, wanted_split: str) -> str:
    """The first name in a row of hashes that the published rule puts into the wanted split."""
    for attempt in count():
        digest = hashlib.sha1(f"{seed}/{number}/{attempt}".encode()).hexdigest()
        name = digest[:HASH_DIGITS]
        shares = (SpeechTree.validation_percent, SpeechTree.test_percent)
        if published_split(name, *shares) == wanted_split:
            return name


def jittered(voice: Voice, source: "SyntheticSource", generator: np.random.Generator) -> Voice:
    """The voice as it happens to be in one take."""
    pitch = voice.pitch + source.pitch_jitter * generator.uniform(-1, 1)
    rate = voice.rate * (1 + source.rate_jitter * generator.uniform(-1, 1))
    return replace(voice, pitch=round(pitch), rate=round(rate))
