"""The objectives that a training returns."""

from collections.abc import Mapping

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
