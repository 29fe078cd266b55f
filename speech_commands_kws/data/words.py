"""Which texts can be a keyword: a folder's name, a label and something to say at once."""

import unicodedata

from speech_commands_kws.errors import KwsError

MARKS_INSIDE = "'’- "


def check_words(words: object, name: str) -> None:
    """Raise KwsError unless `words` is a list of distinct words of letters.

    `name` is how the user calls the list.
    """
    if not isinstance(words, list | tuple):
        raise KwsError(f"{name}: expected a list such as [computer,lights], got {words!r}")
    folded = set()
    for word in words:
        if not isinstance(word, str):
            raise KwsError(
                f"{name}: expected words of letters, got {word!r}: spell it out or quote it"
            )
        if not is_word(word):
            raise KwsError(
                f"{name}: expected words of letters with apostrophes, hyphens or spaces inside, "
                f"got {word!r}: spell it out"
            )
        if word.casefold() in folded:
            raise KwsError(
                f"{name}: the word {word!r} is there twice (case does not count): name it once"
            )
        folded.add(word.casefold())


def is_word(text: str) -> bool:
    """Letters of any script with their combining marks, and MARKS_INSIDE between them."""
    kinds = [unicodedata.category(character)[:1] for character in text]
    return (
        bool(text)
        and kinds[0] == "L"
        and kinds[-1] in "LM"
        and all(kind in "LM" or mark in MARKS_INSIDE for kind, mark in zip(kinds, text))
    )
