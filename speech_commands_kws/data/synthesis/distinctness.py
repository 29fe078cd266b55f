"""How distinct a keyword is, before anything is trained: how often people say it, and what sounds like it.

How often a word is said comes from wordfreq (Speer 2022, doi 10.5281/zenodo.7199437), which counts subtitles, books,
news and more; how words sound from espeak-ng; how near two of them are is `phonemes.distance`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from speech_commands_kws.data.synthesis.espeak import Espeak
from speech_commands_kws.data.synthesis.language import ENGLISH, check_language
from speech_commands_kws.data.synthesis.phonemes import distance, features_of, least_distance, plain
from speech_commands_kws.data.words import check_words, spoken_form
from speech_commands_kws.errors import (
    KwsError,
    SettingError,
    check_number,
    check_positive,
    check_whole,
)

GOOD, FAIR, POOR = "good", "fair", "poor"
MINUTES_PER_HOUR = 60


@dataclass(frozen=True)
class Neighbour:
    """A word that sounds like another: how far it is (`phonemes.distance`), and how often it is said in an hour."""

    word: str
    distance: float
    per_hour: float


@dataclass(frozen=True)
class Finding:
    """What is known of a keyword. Of other words the most frequent ones are told.

    Attributes:
        phonemes: of the International Phonetic Alphabet.
        per_hour: how often it is said in an hour of talk; of several words as if they were said independently.
        alike: words that sound the same, which no spotter tells from it.
        near: words that sound like it.
        inside: words that hold the whole of it.
        reasons: what speaks against it.
    """

    word: str
    phonemes: str
    syllables: int
    per_hour: float
    alike: Sequence[Neighbour]
    near: Sequence[Neighbour]
    inside: Sequence[Neighbour]
    reasons: Sequence[str]

    @property
    def verdict(self) -> str:
        return (GOOD, FAIR, POOR)[min(len(self.reasons), 2)]


@dataclass(frozen=True)
class WordCheck:
    """Looks keywords up among the common words of a language.

    Args:
        language: code of wordfreq, such as en or de.
        accent: of espeak-ng.
        common_words: so many of the most frequent ones are compared.
        words_per_minute: of talk.
        told: so many neighbours of each kind are told.
        near_distance: at most so far is near.
        few_syllables: a keyword should have more.
        often_per_hour: the keyword and its homophones, the near words, and the words around it should each be said less
            often.

    Raises:
        SettingError: a setting out of its range.
        KwsError: wordfreq, what it needs for the language, or espeak-ng is missing.
    """

    language: str
    accent: str
    common_words: int
    words_per_minute: float
    told: int
    near_distance: float
    few_syllables: int
    often_per_hour: float

    def __post_init__(self) -> None:
        check_whole(common_words=self.common_words, told=self.told)
        check_whole(0, few_syllables=self.few_syllables)
        check_positive(words_per_minute=self.words_per_minute, often_per_hour=self.often_per_hour)
        check_number(0, 1, near_distance=self.near_distance)

    def __call__(self, words: Sequence[str]) -> list[Finding]:
        """What is known of each keyword.

        Raises:
            SettingError: one is no word, wordfreq does not know the language, or the accent is of another one.
            KwsError: espeak-ng or wordfreq is missing, or espeak-ng cannot say a word.
        """
        check_words(words=words)
        self._check_accent()
        return [self._look_up(word) for word in words]

    def _check_accent(self) -> None:
        """The default accent reads any word, by the rules of English; codes of other languages differ ("zh", "cmn")."""
        check_language(self.language)
        if (self.accent.partition("-")[0] == ENGLISH) != (self.language == ENGLISH):
            raise SettingError(
                f"accent must be one of the language {self.language}, got {self.accent}: name the language, such as "
                "check.language=de, which has its own"
            )

    def _look_up(self, word: str) -> Finding:
        own = self._sounds(word)
        if not own:
            raise KwsError(
                f"espeak-ng says nothing for the word {word!r}: spell it in the letters of its language"
            )
        alike, near, inside = [], [], []
        for other, sounds in self._common.items():
            if not sounds or other == spoken_form(word):
                continue
            far = self._distance(own, sounds)
            if sounds == own:
                kind = alike
            elif holds(sounds, own):
                kind = inside
            elif far <= self.near_distance:
                kind = near
            else:
                continue
            kind.append(Neighbour(other, far, self._per_hour(other)))
        syllables = sum(features_of(sound)[0] == "vowel" for sound in own)
        said = self._per_hour(word)
        return Finding(
            word=word,
            phonemes=" ".join(own),
            syllables=syllables,
            per_hour=said,
            alike=self._most_frequent(alike),
            near=self._most_frequent(near),
            inside=self._most_frequent(inside),
            reasons=list(self._reasons(syllables, said, alike, near, inside)),
        )

    def _reasons(
        self,
        syllables: int,
        said: float,
        alike: Sequence[Neighbour],
        near: Sequence[Neighbour],
        inside: Sequence[Neighbour],
    ) -> Iterator[str]:
        if syllables <= self.few_syllables:
            yield f"{syllables} syllable{'s' * (syllables != 1)}, little to tell it by"
        said += total(alike)
        if said > self.often_per_hour:
            other = f" or {self._names(alike)}, which sounds the same," if alike else ""
            yield f"people say it{other} {rounded(said)} times an hour"
        if total(near) > self.often_per_hour:
            yield f"they say what sounds like it ({self._names(near)}) {rounded(total(near))} times an hour"
        if total(inside) > self.often_per_hour:
            yield f"it is a part of words ({self._names(inside)}) that they say {rounded(total(inside))} times an hour"

    def _distance(self, own: Sequence[str], sounds: Sequence[str]) -> float:
        """That of the phonemes, or a lower bound of it that is too far already."""
        least = least_distance(own, sounds)
        return least if least > self.near_distance else distance(own, sounds)

    def _names(self, neighbours: Sequence[Neighbour]) -> str:
        return ", ".join(neighbour.word for neighbour in self._most_frequent(neighbours))

    def _most_frequent(self, neighbours: Sequence[Neighbour]) -> list[Neighbour]:
        ordered = sorted(neighbours, key=lambda neighbour: neighbour.per_hour, reverse=True)
        return ordered[: self.told]

    def _per_hour(self, text: str) -> float:
        from wordfreq import word_frequency

        try:
            shares = prod(word_frequency(word, self.language) for word in text.split())
        except ModuleNotFoundError as error:
            raise KwsError(
                f"to count words of {self.language} wordfreq needs {error.name}, which is not installed: "
                'pip install "wordfreq[cjk]"'
            ) from None
        return MINUTES_PER_HOUR * self.words_per_minute * shares

    def _sounds(self, word: str) -> tuple[str, ...]:
        return plain(self._engine.phonemes(word, self.accent))

    @cached_property
    def _engine(self) -> Espeak:
        return Espeak()

    @cached_property
    def _common(self) -> dict[str, tuple[str, ...]]:
        """How the common words sound."""
        from wordfreq import top_n_list

        return {word: self._sounds(word) for word in top_n_list(self.language, self.common_words)}


def holds(sounds: Sequence[str], part: Sequence[str]) -> bool:
    """Whether phonemes hold others, one after the other."""
    starts = range(len(sounds) - len(part) + 1)
    return any(tuple(sounds[i : i + len(part)]) == tuple(part) for i in starts)


def total(neighbours: Iterable[Neighbour]) -> float:
    """How often any of them is said in an hour."""
    return sum(neighbour.per_hour for neighbour in neighbours)


def rounded(count: float) -> str:
    """To two digits, without an exponent."""
    return f"{float(f'{count:.2g}'):,g}"
