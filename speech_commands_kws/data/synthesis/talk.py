"""Hours of continuous synthetic speech without keywords: to train against false alarms, and to count them."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from speech_commands_kws.audio.reading import read_audio
from speech_commands_kws.data.speech_tree import TEST, TRAIN, VALIDATION
from speech_commands_kws.data.synthesis.clips import (
    SEEDS,
    Chunk,
    Line,
    Talk,
    Turn,
    run_chunk,
    run_chunks,
)
from speech_commands_kws.data.synthesis.espeak import NORMAL_RATE, Espeak
from speech_commands_kws.data.synthesis.language import ENGLISH, common_words, lines_of
from speech_commands_kws.data.synthesis.phonemes import plain
from speech_commands_kws.data.synthesis.speakers import (
    Person,
    Voices,
    cast_person,
    check_casting,
    origins_of,
    settings_of_voices,
    speaking,
)
from speech_commands_kws.errors import (
    KwsError,
    check_number,
    check_positive,
    check_range,
    check_texts,
    check_whole,
)
from speech_commands_kws.files.whole_folder import make_whole

SPLITS = (TRAIN, VALIDATION, TEST)
SPOKEN_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
HASH_DIGITS = 8
SECONDS_PER_HOUR = 3600
SECONDS_PER_MINUTE = 60
# espeak-ng is a little faster than the rate asked for.
SPARE = 1.5
# Where there is no text: each word so often.
WORD_ROUNDS = 30


@dataclass(frozen=True)
class SyntheticTalk:
    """Which text is read, by whom and how.

    A line with a keyword, or with a word that sounds like one in one of the accents, is left out. Splits share neither
    lines nor voices.

    Attributes:
        parent: the folder `talk-<hash of the settings>` is made here.
        text_file: a text, a few sentences a line; None: common words of the language in any order.
        words: the keywords.
        speakers: who says it; each is in one split.
        accents: as of `SyntheticSource`.
        language, voices, shares, held_out, speed, size, level_db: as of `Casting`; the level is drawn for each turn.
        turn_lines: lowest and highest number of lines that a voice says before the next one.
        pause_seconds: lowest and highest, between turns.
        block_seconds: length of what one process speaks.
        text_shares: of the lines, for training, validation and testing.
        hours: that are stored, of training and validation.
    """

    parent: str
    text_file: str | None
    words: Sequence[str]
    speakers: int
    accents: Sequence[str]
    voices: Mapping[str, Voices]
    shares: Mapping[str, float]
    held_out: str | None
    speed: Sequence[float]
    size: Sequence[float]
    level_db: Sequence[float]
    turn_lines: Sequence[int]
    pause_seconds: Sequence[float]
    block_seconds: float
    text_shares: Sequence[float]
    hours: Sequence[float]
    sample_rate: int
    seed: int
    # Older runs have English ones.
    language: str = ENGLISH

    def __post_init__(self) -> None:
        check_texts(words=self.words, accents=self.accents)
        check_casting(self)
        check_positive(block_seconds=self.block_seconds)
        check_whole(sample_rate=self.sample_rate)
        check_whole(0, seed=self.seed)
        check_range(1, turn_lines=self.turn_lines)
        check_range(0, pause_seconds=self.pause_seconds)
        for share in (*self.text_shares, *self.hours):
            check_number(0, text_shares=share)

    def prepare(self) -> Path:
        """Make `<parent>/talk-<hash>/<split>/<number>.wav` unless it is there.

        Raises:
            KwsError: there is no text, or an engine is missing.
        """
        root = Path(self.parent).absolute() / f"talk-{self.settings_hash}"
        if not root.is_dir():
            origins_of(self)
            make_whole(root, self._write)
        return root

    def block(self, split: str, number: int) -> np.ndarray:
        """That block of an endless talk, float32 (T,); made when asked for, the same each time."""
        with TemporaryDirectory() as folder:
            run_chunk(self._chunk(folder, split, number))
            return read_audio(Path(folder) / self._path(split, number), self.sample_rate)

    @cached_property
    def settings_hash(self) -> str:
        text = Path(self.text_file).name if self.text_file else common_words(self.language)
        facts = {"parent": None, "text_file": text, "voices": settings_of_voices(self)}
        settings = {**asdict(self), **facts}
        del settings["language"]  # is in accents and words
        return hashlib.sha1(json.dumps(settings).encode()).hexdigest()[:HASH_DIGITS]

    @cached_property
    def lines(self) -> dict[str, list[str]]:
        """The lines without keywords of each split, consecutive parts of the text."""
        lines = harmless_lines(self._text(), self.words, self.accents)
        borders = accumulate(self.text_shares, initial=0.0)
        bounds = [round(border * len(lines)) for border in borders]
        parts = [lines[start:end] for start, end in pairwise(bounds)]
        return dict(zip(SPLITS, parts, strict=True))

    @cached_property
    def people(self) -> dict[str, list[Person]]:
        """Those of each split."""
        cast = [cast_person(self, number) for number in range(self.speakers)]
        return {split: [person for person, own in cast if own == split] for split in SPLITS}

    def _text(self) -> list[str]:
        if self.text_file is None:
            return word_lines(common_words(self.language), self.seed)
        path = Path(self.text_file)
        if not path.is_file():
            raise KwsError(
                f"expected a text to read at {path}, found none: run `make speech-corpora`"
            )
        return path.read_text(encoding="utf-8").splitlines()

    def _write(self, root: Path) -> None:
        chunks = [
            self._chunk(str(root), split, number)
            for split, hours in zip(SPLITS, self.hours, strict=False)
            for number in range(round(hours * SECONDS_PER_HOUR / self.block_seconds))
        ]
        run_chunks(chunks)

    def _path(self, split: str, number: int) -> str:
        return f"{split}/{number:04d}.wav"

    def _chunk(self, root: str, split: str, number: int) -> Chunk:
        talk = Talk(self._path(split, number), self._turns(split, number), self.block_seconds)
        return Chunk(root, speaking(self), self.sample_rate, 0, [], [], [talk])

    def _turns(self, split: str, number: int) -> list[Turn]:
        generator = np.random.default_rng([self.seed, SPLITS.index(split), number])
        lines, people = self.lines[split], self.people[split]
        turns, seconds = [], 0.0
        while seconds < SPARE * self.block_seconds:
            count = generator.integers(*self.turn_lines, endpoint=True)
            start = generator.integers(max(len(lines) - count, 0) + 1)
            text = " ".join(lines[start : start + count])
            person = people[generator.integers(len(people))]
            line = Line(text, person, int(generator.integers(SEEDS)))
            pause = generator.uniform(*self.pause_seconds)
            turns.append(Turn(line, generator.uniform(*self.level_db), pause))
            seconds += len(text.split()) / (NORMAL_RATE * person.speed) * SECONDS_PER_MINUTE
        return turns


def word_lines(words: Sequence[str], seed: int) -> list[str]:
    """Lines of words in any order, each word as often as the others."""
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([generator.permutation(words) for _ in range(WORD_ROUNDS)])
    return lines_of(drawn)


def harmless_lines(
    lines: Sequence[str], keywords: Sequence[str], accents: Sequence[str]
) -> list[str]:
    """The lines in which no word sounds like a keyword in one of the accents."""
    words_of = [set(SPOKEN_WORD.findall(line.lower())) for line in lines]
    barred = homophones(sorted(set().union(*words_of)), keywords, accents)
    return [
        line for line, words in zip(lines, words_of, strict=True) if words and not words & barred
    ]


def homophones(words: Sequence[str], keywords: Sequence[str], accents: Sequence[str]) -> set[str]:
    """Those of the words that sound like a keyword in one of the accents, or are one."""
    engine = Espeak()
    found = {word for word in words if word in {keyword.lower() for keyword in keywords}}
    for accent in accents:
        sounds = {plain(engine.phonemes(keyword, accent)) for keyword in keywords}
        found |= {word for word in words if plain(engine.phonemes(word, accent)) in sounds}
    return found
