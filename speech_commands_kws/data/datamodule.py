"""Batches for training and evaluation.

Legend: N clips of a split, B batch, T samples of a clip. Row -1 stands for a clip of digital silence.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from speech_commands_kws.data.packed import INT16_SCALE, PackedClips, pack_folder
from speech_commands_kws.data.sampler import EpochBatches, ResumableLoader, Shard
from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    VALIDATION_LIST,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.data.task import Task
from speech_commands_kws.data.training_batches import (
    SILENT_ROW,
    ResidentClips,
    TrainingClips,
    TrainingRows,
    as_waveforms,
    fits,
)
from speech_commands_kws.errors import (
    KwsError,
    check_choice,
    check_flag,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.labels import SILENCE, UNKNOWN

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clips:
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

    def waveforms(self, part: slice) -> np.ndarray:
        """(n, T) float32 waveforms of a stretch of clips."""
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


class KeywordDataModule(lightning.LightningDataModule):
    """Packs the recordings of a source and divides them among splits and classes.

    Keywords are all used; `_unknown_` and `_silence_` get one class's share (the mean number of clips of a keyword),
    drawn anew every epoch in training and once for evaluation, as in the recipe of BC-ResNet. Silence is background
    noise: added by the augmentation in training, cut from the recordings with a random volume for evaluation.

    Args:
        source: has `prepare() -> SpeechTree`.
        task: classes.
        sample_rate: of the packed clips (Hz).
        clip_seconds: length of a clip (seconds).
        batch_size, evaluation_batch_size: clips, of all processes together.
        silence_volume: largest factor on the noise of silent clips in evaluation.
        cache: folder of packed trees.
        seed: of all drawing.
        shard: what this process gets of every batch.
        resident: hold the clips of the training in the memory of its device; None: on a GPU that has room for them.
    """

    def __init__(
        self,
        source,
        task: Task,
        sample_rate: int,
        clip_seconds: float,
        batch_size: int,
        evaluation_batch_size: int,
        silence_volume: float,
        cache: str | Path,
        seed: int,
        shard: Shard = Shard(),
        resident: bool | None = None,
    ):
        super().__init__()
        check_whole(sample_rate=sample_rate, batch_size=batch_size)
        check_whole(evaluation_batch_size=evaluation_batch_size)
        check_whole(0, seed=seed)
        check_positive(clip_seconds=clip_seconds)
        check_number(0, silence_volume=silence_volume)
        if resident is not None:
            check_flag(resident=resident)
        self.source = source
        self.task = task
        self.sample_rate = sample_rate
        self.clip_samples = round(sample_rate * clip_seconds)
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.silence_volume = silence_volume
        self.cache = Path(cache)
        self.seed = seed
        self.shard = shard
        self.resident = resident
        self.resident_clips: ResidentClips | None = None
        self.tree: SpeechTree | None = None

    def prepare_data(self) -> None:
        """Make the packed files; one process does this before any opens them."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        if self.tree is not None:
            return
        self.tree = self.source.prepare()
        self.packed = pack_folder(
            self.tree.root, self.tree.pattern, self.cache, self.sample_rate, self.clip_samples
        )
        words, speakers = words_and_speakers(self.packed.paths, self.tree.pattern)
        self.labels = self.task.labels(words)
        self.splits = assign_splits(self.tree, self.packed.paths, speakers)
        fallback = self.labels.index(UNKNOWN) if UNKNOWN in self.labels else SILENT_ROW
        index_of = {label: i for i, label in enumerate(self.labels)}
        # -1 marks words that are no class of this task
        self.target_of_row = np.array(
            [index_of.get(word, fallback) for word in words], dtype=np.int64
        )
        self._check_splits()
        LOG.info(
            "%s: %d clips, %d speakers, %s; classes: %s",
            self.tree.root,
            len(self.packed.paths),
            len(set(speakers)),
            ", ".join(f"{split} {np.sum(self.splits == split)}" for split in SPLITS),
            " ".join(self.labels),
        )
        if SILENCE in self.labels and not self.packed.noises:
            LOG.warning("no background noise in %s: silence is digital silence", self.tree.root)

    @property
    def fingerprint(self) -> str:
        return self.packed.fingerprint

    def train_dataloader(self) -> ResumableLoader:
        silence_target = self.labels.index(SILENCE) if SILENCE in self.labels else SILENT_ROW
        self.resident_clips = self._make_resident()
        if self.resident_clips:
            dataset = TrainingRows(self.target_of_row, silence_target)
        else:
            dataset = TrainingClips(self.packed, self.target_of_row, silence_target)
        never_heard = self._keywords_without_clips(TRAIN)
        if never_heard:
            raise KwsError(
                f"expected clips of every keyword to train on, found none of {', '.join(never_heard)}; add recordings "
                "by other speakers, name those who are held out in data.validation_speakers and data.test_speakers, or "
                "leave the words out of data.words"
            )
        keyword_rows, unknown_rows = map(self._repeated, self._rows(TRAIN))
        batches = EpochBatches(
            keyword_rows,
            unknown_rows,
            n_unknown=min(self._class_share(keyword_rows), len(unknown_rows)),
            n_silence=self._class_share(keyword_rows) if SILENCE in self.labels else 0,
            silent_row=SILENT_ROW,
            batch_size=self.batch_size,
            seed=self.seed,
            shard=self.shard,
        )
        return ResumableLoader(dataset, sampler=batches, batch_size=None)

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, Tensor], dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """What the loader gives for training becomes waveforms on the device."""
        if not self.trainer.training:
            return batch
        clips, targets = batch
        if self.resident_clips:
            clips = self.resident_clips[clips]
        return as_waveforms(clips), targets

    def _make_resident(self) -> ResidentClips | None:
        if self.trainer is None:
            return None
        device = self.trainer.strategy.root_device
        on_choice = device.type == "cuda" and fits(self.packed, device)
        wanted = on_choice if self.resident is None else self.resident
        return ResidentClips(self.packed, device) if wanted else None

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader(VALIDATION)

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader(TEST)

    def evaluation_set(self, split: str) -> Clips:
        """Clips of a split; for the test split those of the test folder, where the data set has one that fits."""
        check_choice(SPLITS, split=split)
        self.setup()
        if split == TEST and self.tree.test_root is not None:
            clips = self._test_folder()
            if clips is not None:
                return clips
        keyword_rows, unknown_rows = self._rows(split)
        generator = np.random.default_rng([self.seed, SPLITS.index(split)])
        share = self._class_share(keyword_rows)
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
        return Clips(names, rows, targets, extra, self.packed, self.packed)

    def _rows(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of keywords and of unknown words."""
        in_split = self.splits == split
        unknown = self.labels.index(UNKNOWN) if UNKNOWN in self.labels else None
        is_unknown = self.target_of_row == unknown
        keyword = in_split & (self.target_of_row >= 0) & ~is_unknown
        return keyword.nonzero()[0], (in_split & is_unknown).nonzero()[0]

    def _repeated(self, rows: np.ndarray) -> np.ndarray:
        """Rows as often as their clips come in an epoch."""
        times = dict(self.tree.repetitions)
        return np.repeat(rows, [times.get(self.packed.paths[row], 1) for row in rows])

    def _class_share(self, keyword_rows: np.ndarray) -> int:
        n_keywords = len(set(self.labels) - {SILENCE, UNKNOWN})
        return round(len(keyword_rows) / n_keywords)

    def _test_folder(self) -> Clips | None:
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
        targets = np.array([self.labels.index(word) for word in words])
        extra = np.zeros((0, self.clip_samples), dtype=np.float32)
        return Clips(packed.paths, np.arange(len(words)), targets, extra, packed, self.packed)

    def _noise_excerpts(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """(count, T) float32 excerpts of the background noise at volumes U(0, silence_volume)."""
        excerpts = np.zeros((count, self.clip_samples), dtype=np.float32)
        noises = [noise for noise in self.packed.noises.values() if len(noise) >= self.clip_samples]
        for excerpt in excerpts if noises else ():
            noise = noises[generator.integers(len(noises))]
            start = generator.integers(len(noise) - self.clip_samples + 1)
            volume = generator.uniform(0, self.silence_volume)
            excerpt[:] = noise[start : start + self.clip_samples] / INT16_SCALE * volume
        return excerpts

    def _evaluation_loader(self, split: str) -> DataLoader:
        clips = self.evaluation_set(split)
        batches = EvaluationBatches(clips, self.evaluation_batch_size, self.shard)
        return DataLoader(batches, batch_size=None)

    def _keywords_without_clips(self, split: str) -> list[str]:
        there = set(self.target_of_row[self._rows(split)[0]].tolist())
        return [
            label
            for i, label in enumerate(self.labels)
            if i not in there and label not in (SILENCE, UNKNOWN)
        ]

    def _check_splits(self) -> None:
        counts = {split: len(self._rows(split)[0]) for split in (TRAIN, VALIDATION)}
        empty = [split for split, count in counts.items() if count == 0]
        if empty:
            raise KwsError(
                f"expected keyword clips in every split, found none for {' and '.join(empty)}; add recordings of more "
                f"speakers, or set data.validation_speakers or data.validation_percent{self._where_lists_decide()}"
            )
        unscored = self._keywords_without_clips(VALIDATION)
        if unscored:
            LOG.warning("no clip for validation of %s: nothing scores them", ", ".join(unscored))

    def _where_lists_decide(self) -> str:
        path = self.tree.root / VALIDATION_LIST
        named = self.tree.validation_speakers or self.tree.test_speakers
        return f" (the lists such as {path} decide now)" if path.is_file() and not named else ""


class EvaluationBatches(Dataset):
    """The shard of batches of evaluation clips in order: an index to ((B, T) waveforms, (B,) targets)."""

    def __init__(self, clips: Clips, batch_size: int, shard: Shard):
        self.clips = clips
        self.batch_size = batch_size
        self.shard = shard

    def __len__(self) -> int:
        return self.shard.n_batches(len(self.clips), self.batch_size)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        part = self.shard.part(index, len(self.clips), self.batch_size)
        return torch.from_numpy(self.clips.waveforms(part)), torch.from_numpy(
            self.clips.targets[part]
        )
