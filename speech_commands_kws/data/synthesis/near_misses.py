"""Words that sound like a keyword but are none: spoken as `_unknown_`, they keep "seven" from firing on "eleven"."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path

from speech_commands_kws.data.synthesis.espeak import Espeak
from speech_commands_kws.data.synthesis.phonemes import EDGE_COST, distance, plain

# Common English words, a choice of ours.
ENGLISH_WORDS = Path(__file__).with_name("english_words.txt")

# Phonemes of a word in an accent.
Phonemes = Callable[[str, str], Sequence[str]]


def english_words() -> list[str]:
    return ENGLISH_WORDS.read_text(encoding="utf-8").split()


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
    candidates: Sequence[str] | None,
    accents: Sequence[str],
    count: int,
    farthest: float,
) -> OtherWords:
    """What to say beside the keywords `words`: the unknown words, and near misses out of other candidates.

    What sounds like a keyword is left out of both. Arguments as in `near_misses`; candidates of None are English.
    """
    engine = Espeak()

    @cache
    def phonemes(word: str, accent: str) -> list[str]:
        return engine.phonemes(word, accent)

    unknown = [word for word in unknown_words if not is_homophone(word, words, accents, phonemes)]
    candidates = english_words() if candidates is None else candidates
    taken = {word.casefold() for word in [*words, *unknown_words]}
    free = [word for word in candidates if word.casefold() not in taken]
    return OtherWords(unknown, near_misses(words, free, accents, count, farthest, phonemes))


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
            # Each phoneme that one has more costs that at least.
            if EDGE_COST * abs(len(own) - len(sounds)) <= farthest * max(len(own), len(sounds))
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
