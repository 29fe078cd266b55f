"""The synthetic speakers: each is one fixed voice of one engine, in one split.

Speakers are numbered, in rows of ten. A row belongs to one engine; its ninth speaker is for validation and its tenth
for testing, which are the shares of the published split.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from itertools import count
from math import ceil
from typing import Any, Protocol

import numpy as np

from speech_commands_kws.data.speech_tree import (
    TEST,
    TRAIN,
    VALIDATION,
    SpeechTree,
    published_split,
)
from speech_commands_kws.data.synthesis.language import check_language
from speech_commands_kws.errors import (
    SettingError,
    check_mapping,
    check_number,
    check_range,
    check_whole,
)

HASH_DIGITS = 8
SPEAKERS_PER_ROW = 10
VALIDATION_COLUMN, TEST_COLUMN = 8, 9
# An independent stream of random numbers for each speaker.
CAST_STREAM = 0
SLOWEST, FASTEST = 0.4, 2.5
SMALLEST, LARGEST = 0.5, 2.0

LOG = logging.getLogger(__name__)


class Voices(Protocol):
    """An engine and the voices that it has: a dataclass of settings, which starts the engine when it first speaks.

    An attribute `languages` names those that it speaks; without it, it speaks all.
    """

    def origin(self) -> str:
        """Name, version and licence of the engine; KwsError where it is not installed."""

    def cast(self, number: int, generator: np.random.Generator) -> Any:
        """The voice of the engine's speaker of that number, as plain data.

        Speakers whose numbers end in different digits may be in different splits, so they must not share a voice that
        people would take for one person's.
        """

    def say(
        self, text: str, voice: Any, speed: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, int]:
        """`text` as float32 (T,) and its sample rate; empty where there is nothing to say.

        Args:
            speed: 1 is the usual speed, 2 twice as fast.
            generator: for what differs between two takes of one speaker.
        """


class Casting(Protocol):
    """Settings that say who speaks.

    Attributes:
        speakers: how many there are.
        language: what they speak, a code of `language.languages`.
        voices: engines by name.
        shares: of the speakers, for each engine; one without a share, or of other languages, does not speak.
        held_out: an engine of which all speakers are for testing, and which alone is tested on; or None.
        speed: lowest and highest of a uniform draw for each speaker, 1 is the usual speed.
        size: the same for the size of the vocal tract, which moves pitch and formants together; 1 leaves a voice as it
            is, 1.2 makes it a larger person's.
        level_db: the same for the level of the speech (dBFS of the root mean square).
    """

    speakers: int
    language: str
    voices: Mapping[str, Voices]
    shares: Mapping[str, float]
    held_out: str | None
    speed: Sequence[float]
    size: Sequence[float]
    level_db: Sequence[float]
    seed: int


@dataclass(frozen=True)
class Person:
    """Who speaks: a voice of an engine; `speed` and `size` as of `Casting`."""

    engine: str
    voice: Any
    speed: float
    size: float


@dataclass(frozen=True)
class Speaker:
    """`name` is eight hexadecimal digits; levels are dBFS of the root mean square."""

    name: str
    person: Person
    level_db: float
    floor_db: float
    floor_colour: float


def check_casting(casting: Casting) -> None:
    """Raise SettingError where nobody can be cast."""
    # With fewer than a row of speakers a split would be empty.
    check_whole(SPEAKERS_PER_ROW, speakers=casting.speakers)
    check_language(casting.language)
    check_mapping(voices=casting.voices, shares=casting.shares)
    for name, share in casting.shares.items():
        check_number(0, **{f"shares.{name}": share})
    unknown = [
        name for name, share in casting.shares.items() if share and name not in casting.voices
    ]
    fit = [name for name in casting.voices if speaks(casting, name)]
    if unknown or not any(shares_of(casting).values()):
        raise SettingError(
            f"shares must give some of the engines of voices ({', '.join(fit)}) a number above 0, got {casting.shares} "
            f"for the language {casting.language}"
        )
    for name, engine in casting.voices.items():
        if not is_dataclass(engine):
            raise SettingError(f"voices.{name} must be a dataclass of its settings, got {engine!r}")
    if casting.held_out is not None:
        engines = list(speaking(casting))
        if casting.held_out not in engines or len(engines) < 2:
            raise SettingError(
                f"held_out must be one of two or more engines that speak, got {casting.held_out!r}, and the "
                f"{casting.speakers} speakers are of {', '.join(engines)}: name another engine, or change speakers or "
                "shares"
            )
    check_range(SLOWEST, FASTEST, speed=casting.speed)
    check_range(SMALLEST, LARGEST, size=casting.size)
    check_range(level_db=casting.level_db)


def speaks(casting: Casting, engine: str) -> bool:
    """Whether the engine of that name has the language."""
    return casting.language in getattr(casting.voices[engine], "languages", [casting.language])


def shares_of(casting: Casting) -> dict[str, float]:
    """The shares, 0 for an engine that does not speak the language."""
    return {
        name: share * speaks(casting, name) if share else 0
        for name, share in casting.shares.items()
    }


def speaking(casting: Casting) -> dict[str, Voices]:
    """The engines of the speakers; one whose share is too small for a row has none."""
    rows = ceil(casting.speakers / SPEAKERS_PER_ROW)
    return {name: casting.voices[name] for name in engines_of_rows(shares_of(casting), rows)}


def origins_of(casting: Casting) -> dict[str, str]:
    """What the engines that speak are; the log names those that do not have the language.

    Raises KwsError where one is not installed.
    """
    left_out = [
        name for name, share in casting.shares.items() if share and not speaks(casting, name)
    ]
    if left_out:
        LOG.info(
            "%s: does not speak the language %s, so the other engines do",
            ", ".join(left_out),
            casting.language,
        )
    return {name: engine.origin() for name, engine in speaking(casting).items()}


def settings_of_voices(casting: Casting) -> dict[str, dict[str, Any]]:
    """The engines that speak as plain data: their classes and settings."""
    return {
        name: {"class": type(engine).__qualname__, **asdict(engine)}
        for name, engine in speaking(casting).items()
    }


def cast_person(casting: Casting, number: int) -> tuple[Person, str]:
    """The person of that number and the split, the same however many there are."""
    row, column = divmod(number, SPEAKERS_PER_ROW)
    engines = engines_of_rows(shares_of(casting), row + 1)
    engine = engines[row]
    number_of_engine = engines[:row].count(engine) * SPEAKERS_PER_ROW + column
    generator = np.random.default_rng([casting.seed, number, CAST_STREAM])
    person = Person(
        engine=engine,
        speed=generator.uniform(*casting.speed),
        size=generator.uniform(*casting.size),
        voice=casting.voices[engine].cast(number_of_engine, generator),
    )
    return person, split_of(number, engine, casting.held_out)


def engines_of_rows(shares: Mapping[str, float], rows: int) -> list[str]:
    """The engine of each row; the rows that there were stay when there are more."""
    total = sum(shares.values())
    engines: list[str] = []
    for row in range(1, rows + 1):
        lacking = {
            name: share / total * row - engines.count(name) for name, share in shares.items()
        }
        engines.append(max(lacking, key=lacking.__getitem__))
    return engines


def split_of(number: int, engine: str, held_out: str | None) -> str:
    """The split of a speaker. Where an engine is held out, testing has nobody of the others."""
    if engine == held_out:
        return TEST
    columns = {VALIDATION_COLUMN: VALIDATION, TEST_COLUMN: TRAIN if held_out else TEST}
    return columns.get(number % SPEAKERS_PER_ROW, TRAIN)


def speaker_name(seed: int, number: int, wanted_split: str) -> str:
    """The first name in a row of hashes that the published rule puts into the wanted split."""
    for attempt in count():
        digest = hashlib.sha1(f"{seed}/{number}/{attempt}".encode()).hexdigest()
        name = digest[:HASH_DIGITS]
        shares = (SpeechTree.validation_percent, SpeechTree.test_percent)
        if published_split(name, *shares) == wanted_split:
            return name
