"""Batches for training and evaluation.

Legend: N clips of a split, B batch, T samples of a clip. Row -1 stands for a clip of digital silence.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import lightning
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from speech_commands_kws.data.dataset import KeywordDataset, SplitClips
from speech_commands_kws.data.packed import SILENT_ROW
from speech_commands_kws.data.sampler import EpochBatches, ResumableLoader, Shard
from speech_commands_kws.data.speech_tree import TEST, TRAIN, VALIDATION
from speech_commands_kws.data.task import Task
from speech_commands_kws.data.training_batches import (
    ResidentClips,
    TrainingClips,
    TrainingRows,
    as_waveforms,
    fits,
)
from speech_commands_kws.errors import (
    KwsError,
    check_flag,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.labels import SILENCE


class KeywordDataModule(lightning.LightningDataModule):
    """Batches of the clips of a `KeywordDataset`, which is opened by `setup`.

    Args:
        source: has `prepare() -> SpeechTree`.
        task: classes.
        sample_rate: of the packed clips (Hz).
        clip_seconds: length of a clip (seconds).
        batch_size, evaluation_batch_size: clips, of all processes together.
        silence_volume: largest factor on the noise of silent clips in evaluation.
        unknown_share: clips of `_unknown_` in an epoch of training, as a multiple of those of one keyword.
        cache: folder of packed trees.
        seed: of all drawing.
        shard: what this process gets of every batch.
        resident: hold the clips of the training in the memory of its device; None: on a GPU that has room for them.

    Attributes:
        other_words: their clips, of `_unknown_`, have these targets in training, by the word.
        features: (N, D) of the packed clips, which are in the batches of training too; NaN where there are none.
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
        unknown_share: float = 1.0,
    ):
        super().__init__()
        check_whole(sample_rate=sample_rate, batch_size=batch_size)
        check_whole(evaluation_batch_size=evaluation_batch_size)
        check_whole(0, seed=seed)
        check_positive(clip_seconds=clip_seconds)
        check_number(0, silence_volume=silence_volume, unknown_share=unknown_share)
        if resident is not None:
            check_flag(resident=resident)
        self.sample_rate = sample_rate
        self.clip_samples = round(sample_rate * clip_seconds)
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.seed = seed
        self.shard = shard
        self.resident = resident
        self.unknown_share = unknown_share
        self.other_words: Mapping[str, int] = {}
        self.features: Tensor | None = None
        self.resident_clips: ResidentClips | None = None
        signal = (sample_rate, self.clip_samples)
        self.open = partial(KeywordDataset, source, task, *signal, silence_volume, cache, seed)
        self.dataset: KeywordDataset | None = None

    def prepare_data(self) -> None:
        """Make the packed files; one process does this before any opens them."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        if self.dataset is None:
            self.dataset = self.open()
            self.packed, self.labels = self.dataset.packed, self.dataset.labels
            self.splits = self.dataset.splits

    def evaluation_set(self, split: str) -> SplitClips:
        self.setup()
        return self.dataset.evaluation_set(split)

    @property
    def fingerprint(self) -> str:
        return self.packed.fingerprint

    @property
    def made_by(self) -> str:
        """The engines that made the recordings, as of `SpeechTree`."""
        return self.dataset.tree.made_by

    def train_dataloader(self) -> ResumableLoader:
        silence_target = self.labels.index(SILENCE) if SILENCE in self.labels else SILENT_ROW
        self.resident_clips = self._make_resident()
        given = (self.dataset.targets_with(self.other_words), silence_target, self.features)
        if self.resident_clips:
            dataset = TrainingRows(*given)
        else:
            dataset = TrainingClips(self.packed, *given)
        never_heard = self.dataset.keywords_without_clips(TRAIN)
        if never_heard:
            raise KwsError(
                f"expected clips of every keyword to train on, found none of {', '.join(never_heard)}; add recordings "
                "by other speakers, name those who are held out in data.validation_speakers and data.test_speakers, or "
                "leave the words out of data.words"
            )
        keyword_rows, unknown_rows = map(self._repeated, self.dataset.rows_of(TRAIN))
        share = self.dataset.class_share(keyword_rows)
        batches = EpochBatches(
            keyword_rows,
            unknown_rows,
            n_unknown=min(round(self.unknown_share * share), len(unknown_rows)),
            n_silence=share if SILENCE in self.labels else 0,
            batch_size=self.batch_size,
            seed=self.seed,
            shard=self.shard,
        )
        return ResumableLoader(dataset, sampler=batches, batch_size=None)

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, ...], dataloader_idx: int
    ) -> tuple[Tensor, ...]:
        """What the loader gives for training becomes waveforms on the device."""
        if not self.trainer.training:
            return batch
        clips, *targets = batch
        if self.resident_clips:
            clips = self.resident_clips[clips]
        return as_waveforms(clips), *targets

    def _make_resident(self) -> ResidentClips | None:
        if self.trainer is None:
            return None
        device = self.trainer.strategy.root_device
        wanted = fits(self.packed, device) if self.resident is None else self.resident
        return ResidentClips(self.packed, device) if wanted else None

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader(VALIDATION)

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader(TEST)

    def _repeated(self, rows: np.ndarray) -> np.ndarray:
        """Rows as often as their clips come in an epoch."""
        times = dict(self.dataset.tree.repetitions)
        return np.repeat(rows, [times.get(self.packed.paths[row], 1) for row in rows])

    def _evaluation_loader(self, split: str) -> DataLoader:
        clips = self.evaluation_set(split)
        count, size = len(clips), self.evaluation_batch_size
        parts = [self.shard.part(i, count, size) for i in range(self.shard.n_batches(count, size))]
        return DataLoader(clips, sampler=parts, batch_size=None)
