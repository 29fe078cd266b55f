"""The objectives that a training returns."""

import operator
from collections.abc import Mapping, Sequence

from speech_commands_kws.errors import KwsError

MAXIMIZE, MINIMIZE = DIRECTIONS = "maximize", "minimize"


OBJECTIVES = ACCURACY, MULTIPLY_ADDS, PARAMETERS, LATENCY = (
    "validation_accuracy",
    "multiply_adds",
    "parameters",
    "cpu_latency_ms",
)


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


def pareto_front(points: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """Indices of the points that no other beats: none is as good in every objective and better in one."""
    signs = [1 if direction == MAXIMIZE else -1 for direction in directions]
    scores = [[sign * value for sign, value in zip(signs, point, strict=True)] for point in points]
    return [
        i
        for i, score in enumerate(scores)
        if not any(other != score and all(map(operator.ge, other, score)) for other in scores)
    ]
