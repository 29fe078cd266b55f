"""A folder of spoken words, and the word, speaker and split that its file names give."""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from speech_commands_kws.audio.reading import AUDIO_SUFFIXES
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.labels import BACKGROUND_NOISE

SPEECH_COMMANDS_PATTERN = r"(?P<word>[^/]+)/(?P<speaker>[^/]+?)(?:_nohash_\d+)?\.[^./]+"
VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
HASH_BUCKETS = 2**27
PUBLISHED_PERCENT = 10.0
# How speakers are divided where nothing names those who are held out.
PUBLISHED, DEALT = "published", "dealt"
NUMBERED = re.compile(r"(?P<name>.+?)[\s_.-]*\(?\d+\)?")
NAMES_SHOWN = 5
SPEAKERS_SHOWN = 3

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeechTree:
    """Where the recordings of a data set lie and how they are divided.

    Args:
        root: folder of `<word>/<clip>`, or a flat one with a `pattern` of its own.
        test_root: folder `<class>/<clip>` with a test set of its own, such as the official 12-class one; or None.
        pattern: regular expression over the path below `root` ("/" between folders) with the groups `word` and,
            where the name tells it, `speaker`.
        validation_speakers, test_speakers: speakers held out by hand; they take the place of lists and rule.
        validation_percent, test_percent: shares of the rule.
        split_rule: where nothing names who is held out, "published" is the hash rule of Speech Commands, for data that
            is known by it; "dealt" deals the speakers out so that training is fed, as `deal_out` does.
        made_by: engines that made the recordings, with their versions and licences; "" for those of people.
        near_misses: words that were chosen because they sound like a keyword.
        repetitions: pairs of a path and how often its clip comes in an epoch of training; once where it is not named.
    """

    root: Path
    test_root: Path | None = None
    pattern: str = SPEECH_COMMANDS_PATTERN
    validation_speakers: Sequence[str] = ()
    test_speakers: Sequence[str] = ()
    validation_percent: float = PUBLISHED_PERCENT
    test_percent: float = PUBLISHED_PERCENT
    split_rule: str = PUBLISHED
    made_by: str = ""
    near_misses: Sequence[str] = ()
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
    clips, noises, unused = [], [], []
    for path in files_below(root):
        is_sound = Path(path).suffix.lower() in AUDIO_SUFFIXES
        if path.startswith(f"{BACKGROUND_NOISE}/"):
            if not path.lower().endswith((".md", ".txt")):
                noises.append(path)
        elif (found := expression.fullmatch(path)) and found["word"]:
            clips.append(path)
        elif is_sound:
            unused.append(path)
    if not clips:
        raise KwsError(
            f"expected recordings as <word>/<clip> below {root}, found none that match data.pattern={pattern!r}; "
            f"set data.root or data.pattern"
        )
    if unused:
        LOG.warning(
            "%d sound files below %s are not used, because they are not <word>/<clip> (data.pattern), such as %s",
            len(unused),
            root,
            display_name(unused[0]),
        )
    return clips, noises


def files_below(root: Path) -> list[str]:
    """Paths below a folder, sorted by folder and name, without hidden ones; links to folders are followed.

    Raises KwsError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise KwsError(f"{display_name(error.filename)} cannot be opened: {error.strerror}")

    paths: list[tuple[str, str]] = []
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root).as_posix()
        paths += [(below, name) for name in names if not name.startswith(".")]
    return [f"{folder}/{name}".removeprefix("./") for folder, name in sorted(paths)]


def published_split(speaker: str, validation_percent: float, test_percent: float) -> str:
    """The split rule of Speech Commands (Warden, arXiv 1804.03209): SHA-1 of the speaker as a percentage."""
    bucket = int(name_hash(speaker), 16) % HASH_BUCKETS
    percent = bucket * 100 / (HASH_BUCKETS - 1)
    if percent < validation_percent:
        return VALIDATION
    return TEST if percent < validation_percent + test_percent else TRAIN


def name_hash(speaker: str) -> str:
    return hashlib.sha1(speaker.encode(errors="surrogateescape")).hexdigest()


def assign_splits(
    tree: SpeechTree, paths: Sequence[str], words: Sequence[str], speakers: Sequence[str]
) -> np.ndarray:
    """Split of each clip, (N,) strings: by speakers named by hand, else by the lists, else by the tree's rule.

    Raises:
        KwsError: a speaker named by hand is unknown or in two splits, there is one list without the other, or a list
            names no clip or two by one name.
    """
    lists = {VALIDATION: tree.root / VALIDATION_LIST, TEST: tree.root / TESTING_LIST}
    missing = [path for path in lists.values() if not path.is_file()]
    by_hand = bool(tree.test_speakers or tree.validation_speakers)
    if not by_hand and len(missing) == 1:
        raise KwsError(
            f"expected both split lists, found one but not {missing[0]}; restore it or remove the other"
        )
    if not by_hand and not missing:
        return _split_by_lists(lists, paths)
    _check_named(tree, set(speakers))
    named = dict.fromkeys(tree.validation_speakers, VALIDATION) | dict.fromkeys(
        tree.test_speakers, TEST
    )
    # Validation speakers named by hand alone: nobody is tested on.
    shares = {} if tree.validation_speakers else {VALIDATION: tree.validation_percent}
    if not by_hand:
        shares[TEST] = tree.test_percent
    if tree.split_rule == DEALT:
        _warn_of_numbers(paths, speakers)
        split_of = deal_out(words, speakers, shares, named)
    else:
        percents = (shares.get(VALIDATION, 0), shares.get(TEST, 0))
        split_of = {name: published_split(name, *percents) for name in speakers} | named
    return np.array([split_of[name] for name in speakers])


def deal_out(
    words: Sequence[str],
    speakers: Sequence[str],
    shares: dict[str, float],
    named: dict[str, str],
) -> dict[str, str]:
    """The split of each speaker. Of those who are not `named` the shares are held out, at least one for each share.

    A speaker is held out only where others say his words in training, and first those by whom each word is heard in
    each split. All train where there are not more speakers than shares: whoever records alone wants to be understood.

    Args:
        words, speakers: of the clips (N,).
        shares: of the splits that are not for training (percent).
        named: splits of speakers that are settled.
    """
    said: dict[str, Counter[str]] = {}
    for word, name in zip(words, speakers, strict=True):
        if name not in named:
            said.setdefault(name, Counter())[word] += 1
    names = sorted(said, key=name_hash)
    left: Counter[str] = Counter()
    speakers_of: dict[str, list[str]] = {}
    for name in names:
        left.update(said[name])
        for word in said[name]:
            speakers_of.setdefault(word, []).append(name)
    split_of = dict.fromkeys(names, TRAIN)

    def can_be_spared(name: str) -> bool:
        is_free = split_of[name] == TRAIN
        return is_free and all(left[word] > count for word, count in said[name].items())

    def hold_out(name: str, split: str) -> None:
        split_of[name] = split
        left.subtract(said[name])

    shares = {split: percent for split, percent in shares.items() if percent > 0}
    places: list[str] = []
    for split, percent in shares.items() if len(names) > len(shares) else ():
        count, unheard = max(round(len(names) * percent / 100), 1), set(left)
        # The rarest word first, and of its speakers the one who says most of what is not heard yet.
        for word in sorted(left, key=lambda word: left[word]):
            spared = filter(can_be_spared, speakers_of[word]) if count and word in unheard else ()
            name = max(spared, key=lambda name: len(unheard & said[name].keys()), default=None)
            if name is not None:
                hold_out(name, split)
                unheard -= said[name].keys()
                count -= 1
        places += [split] * count
    for name in names:
        if places and can_be_spared(name):
            hold_out(name, places.pop())
    return split_of | named


def describe_splits(splits: Sequence[str], speakers: Sequence[str]) -> str:
    """How many clips (N,) of whom lie in which split: "train 40 by anna, validation 9 by 12 speakers, test none"."""
    parts = []
    for split in SPLITS:
        own = [name for name, at in zip(speakers, splits, strict=True) if at == split]
        people = sorted(set(own))
        by = ", ".join(people) if len(people) <= SPEAKERS_SHOWN else f"{len(people)} speakers"
        parts.append(f"{split} {len(own)} by {display_name(by)}" if own else f"{split} none")
    return ", ".join(parts)


def write_split_lists(root: Path, paths: Sequence[str], splits: Sequence[str]) -> None:
    """Write the published lists of a tree, given the split of each clip."""
    for split, name in ((VALIDATION, VALIDATION_LIST), (TEST, TESTING_LIST)):
        lines = [f"{path}\n" for path, own in zip(paths, splits, strict=True) if own == split]
        # A name that is not UTF-8 is left out, and said, when the clips are read.
        text = "".join(lines).encode(errors="surrogateescape")
        (root / name).write_bytes(text)


def _split_by_lists(lists: dict[str, Path], paths: Sequence[str]) -> np.ndarray:
    entries = {
        split: [
            list_key(line)
            # Not splitlines(), which ends a line at marks that a name may hold.
            for line in path.read_text("utf-8-sig", errors="surrogateescape").split("\n")
            if line.strip()
        ]
        for split, path in lists.items()
    }
    if not any(entries.values()):
        raise KwsError(
            f"expected {' and '.join(map(str, lists.values()))} to name clips as <word>/<clip>, both are empty: fill "
            "them or remove them"
        )
    keys = [list_key(path) for path in paths]
    there = Counter(keys)
    for split, names in entries.items():
        unknown = [name for name in names if name not in there]
        if not unknown:
            continue
        if len(unknown) == len(names):
            raise KwsError(
                f"expected {lists[split]} to name clips as <word>/<clip>, none of its {len(names)} entries names one, "
                f"such as {display_name(unknown[0])}: correct the list or remove both lists"
            )
        LOG.warning(
            "%d of %d entries of %s name no clip, such as %s",
            *(len(unknown), len(names), lists[split], display_name(unknown[0])),
        )
    twice = [name for names in entries.values() for name in names if there[name] > 1]
    if twice:
        raise KwsError(
            f"the split lists name {display_name(twice[0])}, which stands for {there[twice[0]]} files that differ in "
            "their endings: rename all but one, a list does not tell them apart"
        )
    both = sorted(set(entries[VALIDATION]) & set(entries[TEST]) & there.keys())
    if both:
        raise KwsError(
            f"both split lists name {display_name(both[0])}: take it out of one, a clip is in one split"
        )
    split_of = {name: split for split, names in entries.items() for name in names}
    return np.array([split_of.get(key, TRAIN) for key in keys])


def list_key(path: str) -> str:
    """What a path and an entry of a list share: neither the kind of slash nor the format of the file counts."""
    clip = PurePosixPath(path.strip().replace("\\", "/"))
    return str(clip.parent / clip.stem)


def _warn_of_numbers(paths: Sequence[str], speakers: Sequence[str]) -> None:
    """Say where what may be the recordings of one person count as recordings of several."""
    numbered: dict[str, set[str]] = {}
    for path, speaker in zip(paths, speakers, strict=True):
        found = NUMBERED.fullmatch(speaker)
        if found and PurePosixPath(path).stem == speaker:
            numbered.setdefault(found["name"], set()).add(speaker)
    for names in numbered.values():
        if len(names) > 1:
            LOG.warning(
                "%s count as speakers of their own; if they are one, rename their files to <speaker>_nohash_<number>",
                display_name(", ".join(sorted(names)[:SPEAKERS_SHOWN])),
            )
            return


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
