"""Which texts can be a keyword: a folder's name, a label and something to say at once."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from speech_commands_kws.errors import KwsError, SettingError, check_texts

MARKS_INSIDE = "'’- "


def check_words(**lists: Any) -> None:
    """Raises SettingError for a value that is no list of distinct words of letters; it may be empty."""
    for name, words in lists.items():
        if words != []:
            check_texts(**{name: words})
        unfit = [word for word in words if not is_word(word)]
        if unfit:
            raise SettingError(
                f"{name} must be words of letters with apostrophes, hyphens or spaces inside, got {unfit[0]!r}: "
                "spell it out"
            )
        if len(set(map(spoken_form, words))) < len(words):
            raise SettingError(
                f"{name} must name each word once (case does not count), got {', '.join(words)}"
            )


def spoken_form(word: str) -> str:
    """Equal for spellings of one word: neither case nor how a letter with a mark is encoded can be heard."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).casefold())


def twice_spelled(words: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of words that are one word in two spellings."""
    first_of: dict[str, str] = {}
    pairs = [(first_of.setdefault(spoken_form(word), word), word) for word in sorted(set(words))]
    return [(first, word) for first, word in pairs if first != word]


def check_spelling(found: Iterable[str], keywords: Iterable[str]) -> None:
    """Raises KwsError where recordings of a keyword lie under another spelling, as if they were of another word."""
    spelled = set(map(spoken_form, keywords))
    for one, other in twice_spelled([*found, *keywords]):
        if spoken_form(one) in spelled:
            raise KwsError(
                f"{one!a} and {other!a} are one word in two spellings: give the keyword and the folders of its "
                "recordings the same one"
            )


def is_word(text: str) -> bool:
    """Letters of any script with their combining marks, and MARKS_INSIDE between them."""
    kinds = [unicodedata.category(character)[:1] for character in text]
    return (
        bool(text)
        and kinds[0] == "L"
        and kinds[-1] in "LM"
        and all(kind in "LM" or mark in MARKS_INSIDE for kind, mark in zip(kinds, text))
    )
