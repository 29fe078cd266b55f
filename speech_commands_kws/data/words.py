"""Which texts can be a keyword: a folder's name, a label and something to say at once."""

import unicodedata
from typing import Any

from speech_commands_kws.errors import SettingError, check_texts

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
        if len({word.casefold() for word in words}) < len(words):
            raise SettingError(
                f"{name} must name each word once (case does not count), got {', '.join(words)}"
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
