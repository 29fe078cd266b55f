"""The languages of synthetic speech, and the words that are said in one where nothing else is given.

Those of English are a choice of ours, those of other languages the most frequent words of wordfreq (Speer 2022, doi
10.5281/zenodo.7199437).
"""

from collections.abc import Sequence
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np

from speech_commands_kws.data.words import is_word, spoken_form
from speech_commands_kws.errors import check_choice

ENGLISH = "en"
ENGLISH_WORDS = Path(__file__).with_name("english_words.txt")
# Of wordfreq, and not of espeak-ng: Filipino; Serbian, Croatian and Bosnian as one; and Japanese, whose Chinese letters
# it does not read.
NOT_SPOKEN = frozenset(("fil", "sh", "ja"))
# About as many as there are English ones; so many of them are spoken as `_unknown_`.
COMMON_WORDS, UNKNOWN_WORDS = 3000, 100
WORDS_A_LINE = 8


def languages() -> list[str]:
    """The codes of the languages that both wordfreq and espeak-ng have."""
    from wordfreq import available_languages

    return sorted(set(available_languages()) - NOT_SPOKEN)


def check_language(language: str) -> None:
    """Raises SettingError for a code that is none of `languages`; English needs no wordfreq."""
    if language != ENGLISH:
        check_choice(languages(), language=language)


@cache
def common_words(language: str) -> Sequence[str]:
    """Words that people say, of those that differ in case alone the most frequent."""
    if language == ENGLISH:
        return ENGLISH_WORDS.read_text(encoding="utf-8").split()
    from wordfreq import top_n_list

    words = filter(is_word, top_n_list(language, COMMON_WORDS))
    return list({spoken_form(word): word for word in reversed(list(words))}.values())[::-1]


def unknown_words(language: str) -> Sequence[str]:
    """A hundred of the common words, frequent and less frequent ones."""
    return common_words(language)[:: COMMON_WORDS // UNKNOWN_WORDS]


def lines_of(words: Sequence[str]) -> list[str]:
    """The words in lines of about eight, each with a full stop."""
    parts = np.array_split(words, ceil(len(words) / WORDS_A_LINE))
    return [f"{' '.join(part)}." for part in parts]
