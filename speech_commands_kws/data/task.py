"""Which words are keywords: the classes of a model and the class of each recording."""

from collections.abc import Sequence
from dataclasses import dataclass

from speech_commands_kws.data.words import check_spelling
from speech_commands_kws.errors import KwsError, check_flag, check_texts
from speech_commands_kws.labels import SILENCE, UNKNOWN


@dataclass(frozen=True)
class Task:
    """Classes in the order `_silence_`, `_unknown_`, keywords.

    Args:
        words: the keywords; None makes every word of the data a class (and leaves nothing for `_unknown_`).
        unknown: whether the other words form the class `_unknown_`; otherwise they are left out.
        silence: whether background noise without speech is a class.
    """

    words: Sequence[str] | None
    unknown: bool
    silence: bool

    def __post_init__(self) -> None:
        check_flag(unknown=self.unknown, silence=self.silence)
        if self.words is not None:
            check_texts(words=self.words)

    def labels(self, available: Sequence[str]) -> list[str]:
        """Labels of the classes, given the words that the data has."""
        words = (
            list(self.words)
            if self.words is not None
            else sorted(set(available) - {SILENCE, UNKNOWN})
        )
        check_spelling(available, words)
        missing = sorted(set(words) - set(available))
        if missing:
            raise KwsError(
                f"expected recordings of the words {', '.join(words)}, found none of {', '.join(missing)} "
                f"(there are {', '.join(sorted(set(available)))}); change data.words or task.words, or add recordings"
            )
        others = set(available) - set(words) - {SILENCE}
        special = [SILENCE] * self.silence + [UNKNOWN] * bool(self.unknown and others)
        labels = special + words
        if len(set(labels)) < len(labels):
            raise KwsError(
                f"expected each class once, got {', '.join(labels)}: change data.words or task.words; task.silence and "
                "task.unknown make their classes"
            )
        if len(set(labels) - {SILENCE}) < 2:
            raise KwsError(
                f"expected at least two classes of words, got {', '.join(labels)}, so that all speech would be taken "
                "for one word; add recordings of other words, or train among synthetic ones (data=mixed)"
            )
        return labels
