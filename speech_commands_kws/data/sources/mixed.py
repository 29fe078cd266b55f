"""A few recordings of people among synthetic speech, as one tree of links to both.

Recorded and synthetic speakers never meet: each has one split. That of the recorded ones is what `data=folder` gives
them.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.data.sources.synthetic import SyntheticSource
from speech_commands_kws.data.speech_tree import (
    TEST,
    TRAIN,
    SpeechTree,
    assign_splits,
    audio_paths,
    describe_splits,
    words_and_speakers,
    write_split_lists,
)
from speech_commands_kws.data.words import check_spelling
from speech_commands_kws.errors import KwsError, SettingError, check_number, check_whole
from speech_commands_kws.files.whole_folder import make_whole
from speech_commands_kws.labels import BACKGROUND_NOISE

# What the names of recorded speakers begin with; synthetic ones are hexadecimal.
RECORDED = "recorded-"
HASH_DIGITS = 8

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A recording and its place: `file` is absolute, `path` the link's, below the root of the tree."""

    file: Path
    path: str
    word: str
    speaker: str
    split: str


@dataclass(frozen=True)
class MixedSource:
    """Recordings among synthetic speech.

    Args:
        recorded: the recordings; words that are no keywords count as `_unknown_`.
        synthetic: the synthetic speech, whose words are the keywords.
        parent: where the folder of links goes.
        recorded_share: of a word's clips in an epoch of training, by repeating the recordings; 0 does not repeat.
        most_repeats: times that a recording may be repeated for that.
        enough_recordings: a word that has so many in validation or in testing is scored on people alone there;
            with fewer the synthetic clips stay beside them.
    """

    recorded: FolderSource
    synthetic: SyntheticSource
    parent: str
    recorded_share: float
    most_repeats: int
    enough_recordings: int

    def __post_init__(self) -> None:
        check_number(0, 1, recorded_share=self.recorded_share)
        if self.recorded_share == 1:
            raise SettingError("recorded_share must be below 1, got 1")
        check_whole(most_repeats=self.most_repeats, enough_recordings=self.enough_recordings)

    def prepare(self) -> SpeechTree:
        """Make the tree of links `<parent>/mixed-<hash of its files>` unless it is there.

        Raises KwsError for recordings of none of the keywords.
        """
        recorded, recorded_noises = links_of(self.recorded.prepare(), RECORDED)
        check_recorded_words({clip.word for clip in recorded}, self.synthetic.words)
        check_training_is_fed(recorded, self.synthetic.words)
        LOG.info(divided(recorded))
        tree = self.synthetic.prepare()
        spoken, spoken_noises = links_of(tree)
        synthetic = without_replaced(spoken, recorded, self.enough_recordings)
        clips, noises = recorded + synthetic, recorded_noises | spoken_noises
        root = Path(self.parent).absolute() / f"mixed-{links_hash(clips, noises)}"
        if not root.is_dir():
            make_whole(root, lambda part: write_links(clips, noises, part))
        repetitions = self._repetitions(recorded, synthetic)
        return replace(tree, root=root, repetitions=repetitions)

    def _repetitions(
        self, recorded: Sequence[Clip], synthetic: Sequence[Clip]
    ) -> tuple[tuple[str, int], ...]:
        """How often each recording of the training split comes in an epoch."""
        people, machines = (
            Counter(clip.word for clip in clips if clip.split == TRAIN)
            for clips in (recorded, synthetic)
        )
        odds = self.recorded_share / (1 - self.recorded_share)
        times = {
            word: min(max(round(odds * machines[word] / count), 1), self.most_repeats)
            for word, count in people.items()
        }
        return tuple((clip.path, times[clip.word]) for clip in recorded if clip.split == TRAIN)


def links_of(tree: SpeechTree, prefix: str = "") -> tuple[list[Clip], dict[str, Path]]:
    """The clips of a tree and its background noise (links and files).

    The name of a clip's link is `<word>/<prefix><speaker>_nohash_<k>.<format>`.
    """
    paths, noise_paths = audio_paths(tree.root, tree.pattern)
    words, speakers = words_and_speakers(paths, tree.pattern)
    splits = assign_splits(tree, paths, words, speakers)
    root = tree.root.absolute()
    said: Counter[tuple[str, str]] = Counter()
    clips = []
    for path, word, speaker, split in zip(paths, words, speakers, splits, strict=True):
        name = speaker.replace("/", "_")
        number, said[word, name] = said[word, name], said[word, name] + 1
        link = f"{word}/{prefix}{name}_nohash_{number}{Path(path).suffix}"
        clips.append(Clip(root / path, link, word, speaker, str(split)))
    names = {path: path.partition("/")[2].replace("/", "_") for path in noise_paths}
    noises = {f"{BACKGROUND_NOISE}/{prefix}{name}": root / path for path, name in names.items()}
    return clips, noises


def divided(recorded: Sequence[Clip]) -> str:
    """How many recordings of whom lie in which split, as one line."""
    parts = describe_splits([clip.split for clip in recorded], [clip.speaker for clip in recorded])
    new = any(clip.split == TEST for clip in recorded)
    caution = "" if new else "; no figure will be about people whom training has not heard"
    return f"recordings: {parts}{caution}"


def check_training_is_fed(recorded: Sequence[Clip], keywords: Sequence[str]) -> None:
    """Raise KwsError where a keyword was recorded, but training gets none of it."""
    trained = {clip.word for clip in recorded if clip.split == TRAIN}
    for word in keywords:
        count = sum(clip.word == word for clip in recorded)
        if count and word not in trained:
            raise KwsError(
                f"expected recordings of {word!r} to train on, all {count} are held out for validation or testing: "
                "change data.validation_speakers and data.test_speakers, or the split lists in data.root"
            )


def without_replaced(
    synthetic: Sequence[Clip], recorded: Sequence[Clip], enough: int
) -> list[Clip]:
    """The synthetic clips but those of words that people said often enough where scores are taken."""
    said = Counter((clip.word, clip.split) for clip in recorded)
    return [
        clip for clip in synthetic if clip.split == TRAIN or said[clip.word, clip.split] < enough
    ]


def check_recorded_words(recorded: set[str], keywords: Sequence[str]) -> None:
    """Raise KwsError where no keyword was recorded, or one under another spelling."""
    check_spelling(recorded, keywords)
    if not recorded & set(keywords):
        raise KwsError(
            f"expected recordings of the keywords ({', '.join(keywords)}), found {', '.join(sorted(recorded))}; "
            f"change data.words or data.root, or leave the recordings out (data=synthetic)"
        )


def links_hash(clips: Sequence[Clip], noises: dict[str, Path]) -> str:
    """Names the tree: equal for equal files in equal splits. What is in them, the packed form looks at."""
    lines = [f"{clip.path}\0{clip.file}\0{clip.split}\n" for clip in clips]
    lines += [f"{link}\0{file}\n" for link, file in noises.items()]
    text = "".join(lines).encode(errors="surrogateescape")
    return hashlib.sha1(text).hexdigest()[:HASH_DIGITS]


def write_links(clips: Sequence[Clip], noises: dict[str, Path], root: Path) -> None:
    """Fill the empty folder `root` with links and split lists."""
    links = {clip.path: clip.file for clip in clips} | noises
    for folder in {Path(link).parent for link in links}:
        (root / folder).mkdir(parents=True)
    for link, file in links.items():
        (root / link).symlink_to(file)
    paths, splits = [clip.path for clip in clips], [clip.split for clip in clips]
    write_split_lists(root, paths, splits)
