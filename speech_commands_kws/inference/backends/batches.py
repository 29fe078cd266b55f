"""Scores more clips than an engine takes at once."""

from collections.abc import Callable
from typing import Any

import numpy as np


def in_batches(
    score: Callable[[np.ndarray], Any], waveforms: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and logits `(B, K)` of waveforms `(B, T)`, of which `score` gets `size` at most at once."""
    parts = [score(waveforms[i : i + size]) for i in range(0, len(waveforms), size)]
    probabilities, logits = zip(*parts)
    return np.concatenate(probabilities), np.concatenate(logits)
