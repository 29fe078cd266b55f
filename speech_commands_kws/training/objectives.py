"""The objectives that a training returns."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from speech_commands_kws.errors import KwsError

MAXIMIZE, MINIMIZE = DIRECTIONS = "maximize", "minimize"
OBJECTIVES = ACCURACY, MULTIPLY_ADDS, PARAMETERS, LATENCY = (
    "validation_accuracy",
    "multiply_adds",
    "parameters",
    "cpu_latency_ms",
)
# These follow from the network and from the clips it takes, however it is trained.
COUNTS = MULTIPLY_ADDS, PARAMETERS


def check_objectives(objectives: Mapping[str, str] | None) -> None:
    """Raises KwsError for an unknown objective or direction."""
    unknown = sorted(set(objectives or ()) - set(OBJECTIVES))
    if unknown or not objectives:
        raise KwsError(
            f"expected sweep.objectives among {', '.join(OBJECTIVES)}, got {', '.join(unknown) or 'none'}"
        )
    for name, direction in objectives.items():
        if direction not in DIRECTIONS:
            raise KwsError(
                f"sweep.objectives.{name} must be {' or '.join(DIRECTIONS)}, got {direction!r}"
            )


def best_first(values: Sequence[float | None], direction: str) -> list[int]:
    """Indices of values, the best first, equal ones in the order given, those that are no finite number last."""
    sign = -1 if direction == MAXIMIZE else 1
    keys = [
        sign * value if value is not None and math.isfinite(value) else math.inf for value in values
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def pareto_front(points: ArrayLike, directions: Sequence[str]) -> list[int]:
    """Indices of the points that no other beats: none is as good in every objective and better in one."""
    signs = [1 if direction == MAXIMIZE else -1 for direction in directions]
    scores = np.reshape(points, (-1, len(signs))) * signs
    return [
        i
        for i, score in enumerate(scores)
        if not np.any((scores >= score).all(axis=1) & (scores > score).any(axis=1))
    ]
