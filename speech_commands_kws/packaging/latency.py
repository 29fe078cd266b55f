"""How long a model takes for one clip."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

MS_PER_SECOND = 1000


def median_latency_ms(
    backend: Callable[[np.ndarray], Any], waveform: np.ndarray, repeats: int, warm_up: int
) -> float:
    """Median of `repeats` calls with the same clip (1, T), after `warm_up` others; milliseconds."""
    durations = []
    for _ in range(warm_up + repeats):
        began = perf_counter()
        backend(waveform)
        durations.append(perf_counter() - began)
    return MS_PER_SECOND * median(durations[warm_up:])
