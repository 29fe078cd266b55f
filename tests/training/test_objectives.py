"""What a training can be judged by."""

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.training.objectives import check_objectives


def test_what_a_training_returns_is_taken() -> None:
    check_objectives({"validation_accuracy": "maximize", "parameters": "minimize"})


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ({}, "among validation_accuracy, .*, got none"),
        (None, "got none"),
        ({"beauty": "maximize"}, "got beauty"),
        ({"parameters": "down"}, "parameters must be maximize or minimize, got 'down'"),
    ],
)
def test_anything_else_is_one_clear_error(objectives: dict | None, message: str) -> None:
    with pytest.raises(KwsError, match=message):
        check_objectives(objectives)
