from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Sampler

from speech_commands_kws.data.packed import SILENT_ROW
from speech_commands_kws.errors import KwsError


@dataclass(frozen=True)
class Shard:
    """The share of one of several processes in every batch: the clips `rank`, `rank + world_size`, …

    Together the processes get each clip once, and all get equally many batches, none of them empty: they wait for
    each other at every batch. The last batch holds what is left over; where that is less than a clip for each process,
    it goes into the batch before.
    """

    rank: int = 0
    world_size: int = 1

    def n_batches(self, n_clips: int, batch_size: int) -> int:
        """Raises KwsError where a batch has fewer clips than there are processes."""
        if min(n_clips, batch_size) < self.world_size:
            raise KwsError(
                f"expected a clip for each of {self.world_size} processes, got batches of {batch_size} out of "
                f"{n_clips} clips; lower trainer.devices, or raise loader.batch_size and loader.evaluation_batch_size"
            )
        full, left_over = divmod(n_clips, batch_size)
        return full + (left_over >= self.world_size)

    def part(self, index: int, n_clips: int, batch_size: int) -> slice:
        """Places of this process's clips of a batch."""
        is_last = index + 1 == self.n_batches(n_clips, batch_size)
        stop = n_clips if is_last else (index + 1) * batch_size
        return slice(index * batch_size + self.rank, stop, self.world_size)


class EpochBatches(Sampler):
    """Arrays of rows for each batch of an epoch, a function of (seed, epoch, shard) alone.

    Every epoch has all keyword rows, `n_unknown` of the unknown rows and `n_silence` times the silent row, shuffled
    alike in all processes, each of which gets its shard of every batch of `batch_size`. `state_dict` counts the
    batches handed out, so that training that stopped in the middle of an epoch gets the rest of that epoch.
    """

    def __init__(
        self,
        keyword_rows: np.ndarray,
        unknown_rows: np.ndarray,
        n_unknown: int,
        n_silence: int,
        batch_size: int,
        seed: int,
        shard: Shard = Shard(),
    ):
        self.keyword_rows = keyword_rows
        self.unknown_rows = unknown_rows
        self.n_unknown = n_unknown
        self.n_silence = n_silence
        self.batch_size = batch_size
        self.seed = seed
        self.shard = shard
        self.n_rows = len(keyword_rows) + n_unknown + n_silence
        self.epoch = 0
        self.handed_out = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.shard.n_batches(self.n_rows, self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng([self.seed, self.epoch])
        unknown = generator.choice(self.unknown_rows, self.n_unknown, replace=False)
        rows = np.concatenate([self.keyword_rows, unknown, np.full(self.n_silence, SILENT_ROW)])
        rows = generator.permutation(rows.astype(np.int64))
        self.handed_out, self.first_batch = self.first_batch, 0
        for i in range(self.handed_out, len(self)):
            self.handed_out = i + 1
            yield rows[self.shard.part(i, self.n_rows, self.batch_size)]


class ResumableLoader(DataLoader):
    """A loader over `EpochBatches` that Lightning saves and restores with its checkpoints."""

    def state_dict(self) -> dict[str, int]:
        return {"handed_out": self.sampler.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        # A checkpoint from the end of an epoch begins the next one.
        self.sampler.first_batch = state["handed_out"] % len(self.sampler)
