"""Words that sound like a keyword but are none: spoken as `_unknown_`, they keep "seven" from firing on "eleven".

Keywords that cannot be told apart or spoken are refused here, where it is known how they sound.
"""

import logging
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice, zip_longest

from speech_commands_kws.data.synthesis.espeak import Espeak
from speech_commands_kws.data.synthesis.language import ENGLISH
from speech_commands_kws.data.synthesis.phonemes import distance, least_distance, plain
from speech_commands_kws.errors import KwsError

# What begins a phoneme that is none, but says that the voice of another language goes on.
OTHER_LANGUAGE = "("

LOG = logging.getLogger(__name__)

# Phonemes of a word in an accent.
Phonemes = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True)
class OtherWords:
    """The words spoken as `_unknown_`.

    Attributes:
        unknown: words in general.
        near: for each keyword those that sound like it, the nearest first.
    """

    unknown: list[str]
    near: dict[str, list[str]]

    @property
    def near_in_turn(self) -> list[str]:
        """The nearest of every keyword, then the second of every keyword, and so on."""
        ranks = zip_longest(*self.near.values())
        return [word for rank in ranks for word in rank if word is not None]


def choose_others(
    words: Sequence[str],
    unknown_words: Sequence[str],
    candidates: Sequence[str],
    accents: Sequence[str],
    count: int,
    farthest: float,
) -> OtherWords:
    """What to say beside the keywords `words`: the unknown words, and near misses out of other candidates.

    What sounds like a keyword is left out of both. Arguments as in `near_misses`.
    """
    engine = Espeak()

    @cache
    def phonemes(word: str, accent: str) -> list[str]:
        return engine.phonemes(word, accent)

    check_keywords(words, accents, phonemes)
    unknown = [word for word in unknown_words if not is_homophone(word, words, accents, phonemes)]
    taken = {word.casefold() for word in [*words, *unknown_words]}
    free = [word for word in candidates if word.casefold() not in taken]
    return OtherWords(unknown, near_misses(words, free, accents, count, farthest, phonemes))


def check_keywords(words: Sequence[str], accents: Sequence[str], phonemes: Phonemes) -> None:
    """Warn of keywords that sound alike in some of the accents.

    Raises:
        KwsError: two sound alike in all of them, or none of them can speak one.
    """
    for word in words:
        if all(cannot_speak(word, accent, phonemes) for accent in accents):
            raise KwsError(
                f"the voices cannot speak the keyword {word!r}, whose letters they only name: name its language, "
                "such as data.language=ru, write it as it sounds in Latin letters, or train on recordings (data=folder)"
            )
    for one, other in combinations(words, 2):
        alike = [accent for accent in accents if is_homophone(one, [other], [accent], phonemes)]
        if len(alike) == len(accents):
            raise KwsError(
                f"the keywords {one!r} and {other!r} sound alike, and nothing tells them apart: keep one of them"
            )
        if alike:
            LOG.warning(
                "the keywords %r and %r sound alike in the accents %s", one, other, ", ".join(alike)
            )


def cannot_speak(word: str, accent: str, phonemes: Phonemes) -> bool:
    """Whether an English voice only names the letters of a word, or says "Chinese letter".

    Some scripts it leaves to voices that read them.
    """
    letters = [character for character in word if unicodedata.category(character)[0] == "L"]
    is_latin = all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return (
        not is_latin
        and accent.partition("-")[0] == ENGLISH
        and not any(part.startswith(OTHER_LANGUAGE) for part in phonemes(word, accent))
    )


def near_misses(
    keywords: Sequence[str],
    candidates: Iterable[str],
    accents: Sequence[str],
    count: int,
    farthest: float,
    phonemes: Phonemes,
) -> dict[str, list[str]]:
    """The words that sound most like each keyword, the nearest first; none is there twice.

    No homophone of a keyword in any of the accents is among them: nobody can tell "no" from "know".

    Args:
        keywords: what the model is to spot.
        candidates: words to choose from.
        accents: those that are spoken; the first one decides how near a word is.
        count: words for each keyword, at most.
        farthest: largest distance (`phonemes.distance`).
        phonemes: of a word in an accent.
    """
    # Of candidates that sound the same one is enough.
    word_of = {plain(phonemes(word, accents[0])): word for word in candidates}
    said = {word: sounds for sounds, word in word_of.items() if sounds}
    chosen: dict[str, list[str]] = {}
    for keyword in keywords if count else ():
        own = plain(phonemes(keyword, accents[0]))
        ranked = sorted(
            (distance(own, sounds), word)
            for word, sounds in said.items()
            if least_distance(own, sounds) <= farthest
        )
        near = [word for far, word in ranked if far <= farthest]
        others = (word for word in near if not is_homophone(word, keywords, accents, phonemes))
        chosen[keyword] = list(islice(others, count))
        for word in chosen[keyword]:
            del said[word]
    return chosen


def is_homophone(
    word: str, keywords: Sequence[str], accents: Sequence[str], phonemes: Phonemes
) -> bool:
    """Whether a word sounds like one of the keywords in one of the accents, or is one."""
    return any(
        plain(phonemes(word, accent)) == plain(phonemes(keyword, accent))
        for accent in accents
        for keyword in keywords
    )
