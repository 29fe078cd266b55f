from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader, Sampler


class EpochBatches(Sampler):
    """Arrays of rows for each batch of an epoch, a function of (seed, epoch) alone.

    Every epoch has all keyword rows, `n_unknown` of the unknown rows and `n_silence` times the silent row, shuffled;
    the last batch holds what is left over. `state_dict` counts the batches handed out, so that training that stopped
    in the middle of an epoch gets the rest of that epoch.
    """

    def __init__(
        self,
        keyword_rows: np.ndarray,
        unknown_rows: np.ndarray,
        n_unknown: int,
        n_silence: int,
        silent_row: int,
        batch_size: int,
        seed: int,
    ):
        self.keyword_rows = keyword_rows
        self.unknown_rows = unknown_rows
        self.n_unknown = n_unknown
        self.n_silence = n_silence
        self.silent_row = silent_row
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.handed_out = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-(len(self.keyword_rows) + self.n_unknown + self.n_silence) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng([self.seed, self.epoch])
        unknown = generator.choice(self.unknown_rows, self.n_unknown, replace=False)
        rows = np.concatenate(
            [self.keyword_rows, unknown, np.full(self.n_silence, self.silent_row)]
        )
        rows = generator.permutation(rows.astype(np.int64))
        self.handed_out, self.first_batch = self.first_batch, 0
        for start in range(self.handed_out * self.batch_size, len(rows), self.batch_size):
            self.handed_out += 1
            yield rows[start : start + self.batch_size]


class ResumableLoader(DataLoader):
    """A loader over `EpochBatches` that Lightning saves and restores with its checkpoints."""

    def state_dict(self) -> dict[str, int]:
        return {"handed_out": self.sampler.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        # A checkpoint from the end of an epoch begins the next one.
        self.sampler.first_batch = state["handed_out"] % len(self.sampler)
