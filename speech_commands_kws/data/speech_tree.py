"""A folder of spoken words, and the word, speaker and split that its file names give."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.labels import BACKGROUND_NOISE

SPEECH_COMMANDS_PATTERN = r"(?P<word>[^/]+)/(?P<speaker>[^/]+?)(?:_nohash_\d+)?\.[^./]+"
VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
HASH_BUCKETS = 2**27
PUBLISHED_PERCENT = 10.0
NAMES_SHOWN = 5


@dataclass(frozen=True)
class SpeechTree:
    """Where the recordings of a data set lie and how they are divided.

    Args:
        root: folder of `<word>/<clip>`, or a flat one with a `pattern` of its own.
        test_root: folder `<class>/<clip>` with a test set of its own, such as the official 12-class one; or None.
        pattern: regular expression over the path below `root` ("/" between folders) with the groups `word` and,
            where the name tells it, `speaker`.
        validation_speakers, test_speakers: speakers held out by hand; they take the place of lists and hash rule.
        validation_percent, test_percent: shares of the published hash rule.
        repetitions: pairs of a path and how often its clip comes in an epoch of training; once where it is not named.
    """

    root: Path
    test_root: Path | None = None
    pattern: str = SPEECH_COMMANDS_PATTERN
    validation_speakers: Sequence[str] = ()
    test_speakers: Sequence[str] = ()
    validation_percent: float = PUBLISHED_PERCENT
    test_percent: float = PUBLISHED_PERCENT
    repetitions: Sequence[tuple[str, int]] = ()


def words_and_speakers(paths: Sequence[str], pattern: str) -> tuple[list[str], list[str]]:
    """Word and speaker of each path by the pattern. A clip whose name tells no speaker counts as a speaker."""
    expression = re.compile(pattern)
    words, speakers = [], []
    for path in paths:
        found = expression.fullmatch(path).groupdict()
        words.append(found["word"])
        speakers.append(found.get("speaker") or path)
    return words, speakers


def audio_paths(root: Path, pattern: str) -> tuple[list[str], list[str]]:
    """Sorted paths below `root` that the pattern names, and those of the background noise folder."""
    if not root.is_dir():
        raise KwsError(
            f"expected a folder of recordings at {root}, found none; set data.root to where it lies"
        )
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise KwsError(
            f"expected a regular expression in data.pattern, got {pattern!r} ({error})"
        ) from None
    if "word" not in expression.groupindex:
        raise KwsError(f"expected a group (?P<word>...) in data.pattern, got {pattern!r}")
    clips, noises = [], []
    # Hidden files are passed over, links to folders followed.
    paths = glob("**", root_dir=root, recursive=True)
    for path in sorted(paths, key=lambda path: path.rpartition("/")[::2]):
        if path.startswith(f"{BACKGROUND_NOISE}/"):
            if not path.lower().endswith((".md", ".txt")) and not (root / path).is_dir():
                noises.append(path)
        elif (found := expression.fullmatch(path)) and found["word"]:
            clips.append(path)
    if not clips:
        raise KwsError(
            f"expected recordings as <word>/<clip> below {root}, found none that match data.pattern={pattern!r}; "
            f"set data.root or data.pattern"
        )
    return clips, noises


def published_split(speaker: str, validation_percent: float, test_percent: float) -> str:
    """The split rule of Speech Commands (Warden, arXiv 1804.03209): SHA-1 of the speaker as a percentage."""
    bucket = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % HASH_BUCKETS
    percent = bucket * 100 / (HASH_BUCKETS - 1)
    if percent < validation_percent:
        return VALIDATION
    return TEST if percent < validation_percent + test_percent else TRAIN


def assign_splits(tree: SpeechTree, paths: Sequence[str], speakers: Sequence[str]) -> np.ndarray:
    """Split of each clip, (N,) strings: by speakers named by hand, else the published lists, else the hash rule.

    Raises:
        KwsError: a speaker named by hand is unknown or in two splits, or there is one list without the other.
    """
    if tree.test_speakers or tree.validation_speakers:
        _check_named(tree, set(speakers))
        return np.array([_split_by_hand(tree, speaker) for speaker in speakers])
    lists = {VALIDATION: tree.root / VALIDATION_LIST, TEST: tree.root / TESTING_LIST}
    missing = [path for path in lists.values() if not path.is_file()]
    if len(missing) == 1:
        raise KwsError(
            f"expected both split lists, found one but not {missing[0]}; restore it or remove the other"
        )
    if not missing:
        split_of = {
            line: split
            for split, path in lists.items()
            for line in path.read_text(encoding="utf-8-sig").splitlines()
        }
        return np.array([split_of.get(path, TRAIN) for path in paths])
    shares = (tree.validation_percent, tree.test_percent)
    return np.array([published_split(speaker, *shares) for speaker in speakers])


def names_its_splits(tree: SpeechTree) -> bool:
    """Whether speakers named by hand or a list say what is held out, so that no rule has to."""
    named = (*tree.test_speakers, *tree.validation_speakers)
    return bool(named) or any(
        (tree.root / name).is_file() for name in (VALIDATION_LIST, TESTING_LIST)
    )


def write_split_lists(root: Path, paths: Sequence[str], splits: Sequence[str]) -> None:
    """Write the published lists of a tree, given the split of each clip."""
    for split, name in ((VALIDATION, VALIDATION_LIST), (TEST, TESTING_LIST)):
        lines = [f"{path}\n" for path, own in zip(paths, splits, strict=True) if own == split]
        (root / name).write_text("".join(lines), encoding="utf-8")


def _check_named(tree: SpeechTree, speakers: set[str]) -> None:
    named = {
        "data.validation_speakers": tree.validation_speakers,
        "data.test_speakers": tree.test_speakers,
    }
    for key, names in named.items():
        unknown = [name for name in names if name not in speakers]
        if unknown:
            some = ", ".join(sorted(speakers)[:NAMES_SHOWN])
            raise KwsError(
                f"{key} names {', '.join(unknown)}, of whom there is no clip; the first of {len(speakers)} speakers "
                f"are {some}: correct the names"
            )
    both = [name for name in tree.test_speakers if name in tree.validation_speakers]
    if both:
        raise KwsError(
            f"data.validation_speakers and data.test_speakers both name {', '.join(both)}: "
            "take them out of one, a speaker is in one split"
        )


def _split_by_hand(tree: SpeechTree, speaker: str) -> str:
    if speaker in tree.test_speakers:
        return TEST
    if tree.validation_speakers:
        return VALIDATION if speaker in tree.validation_speakers else TRAIN
    # Only test speakers are named: the hash rule takes validation speakers from the rest.
    return published_split(speaker, tree.validation_percent, 0)
