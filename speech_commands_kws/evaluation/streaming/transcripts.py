"""What is said in recordings that are there to count false alarms: an event of a keyword that is said is none."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from speech_commands_kws.data.synthesis.talk import SPOKEN_WORD


class Said(NamedTuple):
    """A keyword, or what sounds like it, is said between these times (seconds)."""

    keyword: str
    start: float
    end: float


def words_said(
    folder: Path, paths: Iterable[Path], spellings: Mapping[str, set[str]]
) -> dict[Path, list[str]]:
    """The keywords in the transcripts of the recordings below a folder, of those that have any.

    A transcript is a line `name: text` of a text file (.txt, UTF-8) below the folder; the name is the end of the
    recording's path, without the suffix: `one` or `digits/one` of digits/one.wav.

    Args:
        spellings: of each keyword, in small letters.
    """
    texts = {}
    for file in sorted(folder.rglob("*.txt")):
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            name, _, text = line.partition(":")
            texts[PurePath(name.strip()).parts] = set(SPOKEN_WORD.findall(text.lower()))
    found = {}
    for path in paths if texts else ():
        parts = path.relative_to(folder).with_suffix("").parts
        names = (parts[i:] for i in range(len(parts)))
        words = next((texts[name] for name in names if name in texts), set())
        found[path] = [keyword for keyword, spelt in spellings.items() if spelt & words]
    return found
