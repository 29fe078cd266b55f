"""Where recordings come from. A source has one method, `prepare() -> SpeechTree`."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speech_commands_kws.data.fetch.fetch import fetch_folder
from speech_commands_kws.data.speech_tree import DEALT, PUBLISHED, SpeechTree
from speech_commands_kws.errors import (
    KwsError,
    SettingError,
    check_choice,
    check_number,
    check_texts,
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderSource:
    """Recordings that lie in a folder; the arguments are those of `SpeechTree`.

    `words` are the keywords among the words of the folder (None: all of them); the task group reads them from here.
    `download` brings a folder that is missing from where it is published; None where nobody publishes it.
    """

    root: str
    pattern: str
    test_root: str | None
    words: Sequence[str] | None
    validation_speakers: Sequence[str]
    test_speakers: Sequence[str]
    validation_percent: float
    test_percent: float
    hint: str
    download: Callable[[Path], None] | None = None
    # Runs from before there was a choice were divided by the published rule.
    split_rule: str = PUBLISHED

    def __post_init__(self) -> None:
        if self.words is not None:
            check_texts(words=self.words)
        for name in ("validation_speakers", "test_speakers"):
            speakers = getattr(self, name)
            if not isinstance(speakers, Sequence) or isinstance(speakers, str):
                raise SettingError(f"{name} must be a list such as [anna,theo], got {speakers!r}")
            numbers = [name for name in speakers if isinstance(name, float | bool | None)]
            if numbers:
                raise SettingError(
                    f"{name} must be a list of names, got {numbers[0]!r}: put a name that looks like a number or a "
                    f"truth value in quotes, such as '{name}=[\"590750e8\"]'"
                )
        check_choice((PUBLISHED, DEALT), split_rule=self.split_rule)
        check_number(0, 100, validation_percent=self.validation_percent)
        check_number(0, 100, test_percent=self.test_percent)

    def fetch(self) -> None:
        """Bring what is missing, once and before anything is trained.

        A tree that is there goes without its test set, as it always may. So the test set comes first: a fetch that was
        interrupted before it had the tree begins again.
        """
        if not folder_of(self.root).is_dir():
            for folder in filter(None, (self.test_root, self.root)):
                fetch_folder(folder_of(folder), self.download)

    def prepare(self) -> SpeechTree:
        self.fetch()
        root = folder_of(self.root)
        if not root.is_dir():
            raise KwsError(
                f"expected a folder of recordings at data.root={root}, found none; {self.hint}"
            )
        test_root = folder_of(self.test_root) if self.test_root else None
        if test_root and not test_root.is_dir():
            LOG.warning("no test set at data.test_root=%s: a split of %s is used", test_root, root)
            test_root = None
        return SpeechTree(
            root=root,
            test_root=test_root,
            pattern=self.pattern,
            validation_speakers=tuple(str(speaker) for speaker in self.validation_speakers),
            test_speakers=tuple(str(speaker) for speaker in self.test_speakers),
            validation_percent=self.validation_percent,
            test_percent=self.test_percent,
            split_rule=self.split_rule,
        )


def folder_of(name: str) -> Path:
    """A shell leaves `~` as it is behind a `=`."""
    return Path(str(name)).expanduser()
