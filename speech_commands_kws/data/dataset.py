"""The clips of a source in the classes of a task, divided among splits. No torch in here.

Legend: N clips of a split, T samples of a clip. Row -1 stands for a clip of digital silence.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.data.packed import SILENT_ROW, PackedClips, pack_folder
from speech_commands_kws.data.speech_tree import (
    DEALT,
    SPEECH_COMMANDS_PATTERN,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    VALIDATION_LIST,
    assign_splits,
    describe_splits,
    words_and_speakers,
)
from speech_commands_kws.data.task import Task
from speech_commands_kws.data.words import check_spelling
from speech_commands_kws.errors import KwsError, check_choice
from speech_commands_kws.labels import SILENCE, UNKNOWN, is_keyword, keywords_of

# Why fewer clips are trained on and scored than there are.
ONE_SHARE = (
    f" (of {UNKNOWN} and {SILENCE} as many clips each as of one keyword, in training loader.unknown_share times as "
    f"many of {UNKNOWN})"
)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitClips:
    """Clips of a split with their classes.

    Attributes:
        names: N file names (relative to the tree), or a description for silence made from noise.
        rows: (N,) rows of the packed clips, -1 where the clip is in `extra`.
        targets: (N,) class indices.
        extra: (number of -1 rows, T) float32 waveforms: excerpts of background noise.
        packed: the clips of these rows.
        tree: all clips of the data set, with its background noise; `packed` unless these clips lie elsewhere.
    """

    names: list[str]
    rows: np.ndarray
    targets: np.ndarray
    extra: np.ndarray
    packed: PackedClips
    tree: PackedClips

    @property
    def noises(self) -> dict[str, np.ndarray]:
        """Recordings of background noise, float32, by their paths below its folder."""
        return self.tree.noise_waveforms

    @property
    def fingerprint(self) -> str:
        return self.packed.fingerprint

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """(n, T) waveforms and (n,) targets of a stretch of clips, which torch's loader makes tensors of."""
        return self.waveforms(part), self.targets[part]

    def waveforms(self, part: slice | np.ndarray) -> np.ndarray:
        """(n, T) float32 waveforms of a stretch of clips, or of some of them."""
        rows = self.rows[part]
        waveforms = self.packed.waveforms(rows)
        silent = rows == SILENT_ROW
        extra_rows = (np.cumsum(self.rows == SILENT_ROW) - 1)[part]
        waveforms[silent] = self.extra[extra_rows[silent]]
        return waveforms

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """(at most batch_size, T) float32 waveforms, in order."""
        for start in range(0, len(self), batch_size):
            yield self.waveforms(slice(start, start + batch_size))


class KeywordDataset:
    """Packs the recordings of a source and divides them among splits and classes.

    Keywords are all used; `_unknown_` and `_silence_` get one class's share (the mean number of clips of a keyword),
    drawn anew every epoch in training and once for evaluation, as in the recipe of BC-ResNet. Silence is background
    noise: added by the augmentation in training, cut from the recordings with a random volume for evaluation.

    Args:
        source: has `prepare() -> SpeechTree`.
        task: classes.
        sample_rate: of the packed clips (Hz).
        clip_samples: length of a clip (samples).
        silence_volume: largest factor on the noise of silent clips in evaluation.
        cache: folder of packed trees.
        seed: of all drawing.

    Attributes:
        labels: the classes.
        splits: the split of each packed clip.
        words: that each packed clip says.
        target_of_row: the class of each packed clip; -1 for a word that is none of the task.
        is_unknown: which packed clips are of `_unknown_`.
    """

    def __init__(
        self,
        source: Any,
        task: Task,
        sample_rate: int,
        clip_samples: int,
        silence_volume: float,
        cache: str | Path,
        seed: int,
    ):
        self.sample_rate = sample_rate
        self.clip_samples = clip_samples
        self.silence_volume = silence_volume
        self.cache = Path(cache)
        self.seed = seed
        self.tree = source.prepare()
        self.packed = pack_folder(
            self.tree.root, self.tree.pattern, self.cache, self.sample_rate, self.clip_samples
        )
        words, speakers = words_and_speakers(self.packed.paths, self.tree.pattern)
        self.words = words
        self.labels = task.labels(words)
        self.splits = assign_splits(self.tree, self.packed.paths, words, speakers)
        fallback = self.labels.index(UNKNOWN) if UNKNOWN in self.labels else SILENT_ROW
        index_of = {label: i for i, label in enumerate(self.labels)}
        self.target_of_row = np.array(
            [index_of.get(word, fallback) for word in words], dtype=np.int64
        )
        unknown = self.labels.index(UNKNOWN) if UNKNOWN in self.labels else None
        self.is_unknown = self.target_of_row == unknown
        self._check_splits(len(set(speakers)))
        LOG.info(
            "%s: %d clips, %s; classes: %s%s",
            self.tree.root,
            len(self.packed.paths),
            describe_splits(self.splits, speakers),
            " ".join(self.labels),
            "" if set(self.labels).isdisjoint((UNKNOWN, SILENCE)) else ONE_SHARE,
        )
        if task.unknown and UNKNOWN not in self.labels:
            LOG.warning(
                "no recordings of other words: whatever is said will be taken for one of the keywords; add some, or "
                "train among synthetic ones (data=mixed)"
            )
        if SILENCE in self.labels and not self.packed.noises:
            LOG.warning("no background noise in %s: silence is digital silence", self.tree.root)

    def evaluation_set(self, split: str) -> SplitClips:
        """Clips of a split; for the test split those of the test folder, where the data set has one that fits."""
        check_choice(SPLITS, split=split)
        if split == TEST and self.tree.test_root is not None:
            clips = self._test_folder()
            if clips is not None:
                return clips
        keyword_rows, unknown_rows = self.rows_of(split)
        generator = np.random.default_rng([self.seed, SPLITS.index(split)])
        share = self.class_share(keyword_rows)
        unknown_rows = generator.permutation(unknown_rows)[:share]
        rows = np.concatenate([keyword_rows, np.sort(unknown_rows)])
        targets = self.target_of_row[rows]
        names = [self.packed.paths[row] for row in rows]
        extra = np.zeros((0, self.clip_samples), dtype=np.float32)
        if SILENCE in self.labels:
            extra = self._noise_excerpts(share, generator)
            rows = np.append(rows, np.full(share, SILENT_ROW))
            targets = np.append(targets, np.full(share, self.labels.index(SILENCE)))
            names += [f"{SILENCE}/excerpt {i}" for i in range(share)]
        return SplitClips(names, rows, targets, extra, self.packed, self.packed)

    def rows_of(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of keywords and of unknown words."""
        in_split = self.splits == split
        keyword = in_split & (self.target_of_row >= 0) & ~self.is_unknown
        return keyword.nonzero()[0], (in_split & self.is_unknown).nonzero()[0]

    def targets_with(self, numbers: Mapping[str, int]) -> np.ndarray:
        """The class of each packed clip, but the number of its word for a clip of `_unknown_` whose word has one."""
        targets = self.target_of_row.copy()
        for row in self.is_unknown.nonzero()[0]:
            targets[row] = numbers.get(self.words[row], targets[row])
        return targets

    def class_share(self, keyword_rows: np.ndarray) -> int:
        n_keywords = len(set(self.labels) - {SILENCE, UNKNOWN})
        return round(len(keyword_rows) / n_keywords)

    def keywords_without_clips(self, split: str) -> list[str]:
        there = set(self.target_of_row[self.rows_of(split)[0]].tolist())
        return [
            label for i, label in enumerate(self.labels) if i not in there and is_keyword(label)
        ]

    def _test_folder(self) -> SplitClips | None:
        packed = pack_folder(
            self.tree.test_root,
            SPEECH_COMMANDS_PATTERN,
            self.cache,
            self.sample_rate,
            self.clip_samples,
        )
        words, _ = words_and_speakers(packed.paths, SPEECH_COMMANDS_PATTERN)
        if set(words) != set(self.labels):
            LOG.info(
                "the classes of %s are not those of the task: using the test split",
                self.tree.test_root,
            )
            return None
        return whole_folder(packed, words, self.labels, self.packed)

    def _noise_excerpts(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """(count, T) float32 excerpts of the background noise at volumes U(0, silence_volume)."""
        excerpts = np.zeros((count, self.clip_samples), dtype=np.float32)
        recordings = self.packed.noises.values()
        noises = [noise for noise in recordings if len(noise) >= self.clip_samples]
        # Where all are shorter than a clip, they are repeated.
        noises = noises or [np.resize(noise, self.clip_samples) for noise in recordings]
        for excerpt in excerpts if noises else ():
            noise = noises[generator.integers(len(noises))]
            start = generator.integers(len(noise) - self.clip_samples + 1)
            volume = generator.uniform(0, self.silence_volume)
            excerpt[:] = noise[start : start + self.clip_samples] / INT16_SCALE * volume
        return excerpts

    def _check_splits(self, n_speakers: int) -> None:
        counts = {split: len(self.rows_of(split)[0]) for split in (TRAIN, VALIDATION)}
        empty = [split for split, count in counts.items() if count == 0]
        if empty and self.tree.split_rule == DEALT:
            raise KwsError(
                f"expected keyword clips in every split, none for {' and '.join(empty)}; all are by "
                f"{n_speakers} speaker{'s' * (n_speakers > 1)}: add recordings of the same words by others, name who "
                "is held out in data.validation_speakers, or train among synthetic speech (data=mixed)"
            )
        if empty:
            raise KwsError(
                f"expected keyword clips in every split, none for {' and '.join(empty)}; add recordings of more "
                f"speakers, or set data.validation_speakers, or data.validation_percent where no {VALIDATION_LIST} "
                f"lies in {self.tree.root}"
            )
        unscored = self.keywords_without_clips(VALIDATION)
        if unscored:
            LOG.warning("no clip for validation of %s: nothing scores them", ", ".join(unscored))


def labelled_split(
    source: Any,
    split: str,
    labels: Sequence[str],
    sample_rate: int,
    clip_samples: int,
    silence_volume: float,
    cache: str | Path,
    seed: int,
) -> SplitClips:
    """The clips of a split in the classes of a model that is there already.

    Args:
        labels, sample_rate, clip_samples: of the model.
        silence_volume, cache, seed: as in `KeywordDataset`; those of the training draw the clips of its validation
            again.

    Raises:
        KwsError: the data cannot give these classes, or there is no such split.
    """
    words = keywords_of(labels)
    task = Task(words, unknown=UNKNOWN in labels, silence=SILENCE in labels)
    dataset = KeywordDataset(source, task, sample_rate, clip_samples, silence_volume, cache, seed)
    if tuple(dataset.labels) != tuple(labels):
        raise KwsError(
            f"expected data with the model's labels ({', '.join(labels)}), "
            f"got {', '.join(dataset.labels)}: choose other data or another model"
        )
    return dataset.evaluation_set(split)


def labelled_folder(
    folder: Path, labels: Sequence[str], sample_rate: int, clip_samples: int, cache: str | Path
) -> SplitClips:
    """All clips of a folder of `<word>/<clip>` in the classes of a model; other words count as `_unknown_`.

    Args:
        labels, sample_rate, clip_samples: of the model.
        cache: folder of packed trees.

    Raises:
        KwsError: the folder is missing or empty, has no word of the labels, others while `_unknown_` is none, or one
            under another spelling.
    """
    if not folder.is_dir():
        raise KwsError(f"expected a folder of <word>/<clip> at input={folder}, found none")
    packed = pack_folder(folder, SPEECH_COMMANDS_PATTERN, Path(cache), sample_rate, clip_samples)
    words, _ = words_and_speakers(packed.paths, SPEECH_COMMANDS_PATTERN)
    check_spelling(words, labels)
    others = sorted(set(words) - set(labels))
    if not set(words) & set(labels) or (others and UNKNOWN not in labels):
        raise KwsError(
            f"expected clips of the model's words ({', '.join(labels)}), "
            f"got {', '.join(others)}: give other clips or another model"
        )
    in_labels = [word if word in labels else UNKNOWN for word in words]
    return whole_folder(packed, in_labels, labels, packed)


def whole_folder(
    packed: PackedClips, words: Sequence[str], labels: Sequence[str], tree: PackedClips
) -> SplitClips:
    """All packed clips, of which each is of one of the labels."""
    targets = np.array([labels.index(word) for word in words])
    no_excerpts = np.zeros((0, packed.clips.shape[1]), dtype=np.float32)
    return SplitClips(packed.paths, np.arange(len(words)), targets, no_excerpts, packed, tree)
