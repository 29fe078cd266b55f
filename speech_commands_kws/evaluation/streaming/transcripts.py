"""What is said in recordings that are there without keywords: an event of a keyword that is said is no false alarm."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, takewhile
from operator import eq
from pathlib import Path, PurePath
from typing import NamedTuple

from speech_commands_kws.data.synthesis.talk import SPOKEN_WORD

LOG = logging.getLogger(__name__)


class Said(NamedTuple):
    """A keyword, or what sounds like it, is said between these times (seconds)."""

    keyword: str
    start: float
    end: float


def spellings_of(
    keywords: Iterable[str], homophones: Mapping[str, Sequence[str]]
) -> dict[str, set[str]]:
    """Of each keyword, in small letters; what sounds like it too."""
    return {keyword: {keyword.lower(), *homophones.get(keyword, ())} for keyword in keywords}


def without_keywords(
    found: Mapping[Path, Sequence[Path]], spellings: Mapping[str, set[str]]
) -> dict[Path, list[Path]]:
    """The recordings below each folder, but those in whose transcript a keyword is; a line in the log counts these."""
    said: dict[Path, list[str]] = {}
    for folder, paths in found.items():
        said |= words_said(folder, paths, spellings)
    counts = Counter(chain.from_iterable(said.values()))
    if counts:
        number = sum(map(bool, said.values()))
        words = ", ".join(f"{keyword} ({count})" for keyword, count in counts.most_common())
        LOG.warning("left out: %d recordings that say %s", number, words)
    return {
        folder: [path for path in paths if not said.get(path)] for folder, paths in found.items()
    }


def words_said(
    folder: Path, paths: Iterable[Path], spellings: Mapping[str, set[str]]
) -> dict[Path, list[str]]:
    """The keywords in the transcripts of the recordings below a folder, of those that have any.

    A transcript is a line `name: text` of a text file (.txt, UTF-8) below the folder; the name is the end of the
    recording's path, without the suffix: `one` or `digits/one` of digits/one.wav. Where several fit, that of the
    nearest file is taken, and in it the longest.

    Args:
        spellings: as of `spellings_of`.
    """
    texts: dict[tuple[str, ...], dict[tuple[str, ...], set[str]]] = {}
    for file in sorted(folder.rglob("*.txt")):
        place = file.parent.relative_to(folder).parts
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            name, _, text = line.partition(":")
            words = set(SPOKEN_WORD.findall(text.lower()))
            texts.setdefault(PurePath(name.strip()).parts, {})[place] = words
    found = {}
    for path in paths if texts else ():
        parts = path.relative_to(folder).with_suffix("").parts
        fitting = [
            ((shared(place, parts), -i), words)
            for i in range(len(parts))
            for place, words in texts.get(parts[i:], {}).items()
        ]
        nearest = max((nearness for nearness, _ in fitting), default=None)
        words = set().union(*(words for nearness, words in fitting if nearness == nearest))
        found[path] = [keyword for keyword, spelt in spellings.items() if spelt & words]
    return found


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths have in common, from the first on."""
    return len(list(takewhile(bool, map(eq, one, other))))
