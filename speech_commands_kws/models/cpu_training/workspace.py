"""Arrays reused from one training step to the next."""

from collections import defaultdict

import numpy as np


class Workspace:
    """Large arrays, taken and given back by shape.

    Memory that the system hands out anew costs a fault of the processor for every 4 kB of it, a fifth of a step of
    BC-ResNet-1. What is taken and never given back is only lost to the next step.
    """

    def __init__(self) -> None:
        self.free: dict[tuple, list[np.ndarray]] = defaultdict(list)

    def __reduce__(self):
        return Workspace, ()  # a copy of a model begins with an empty one

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array."""
        free = self.free[shape, np.dtype(dtype)]
        return free.pop() if free else np.empty(shape, dtype)

    def give(self, *arrays: np.ndarray) -> None:
        for array in arrays:
            self.free[array.shape, array.dtype].append(array)
