"""What a training can be judged by."""

import math

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.training.objectives import best_first, check_objectives, pareto_front


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


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.5), (2, 0.6), (3, 0.55), (4, 0.7)], [0, 1, 3]),
        ([(4, 0.7), (1, 0.5), (1, 0.6)], [0, 2]),
        ([(1, 0.9), (2, 0.9)], [0]),
        ([(1, 0.9), (1, 0.9)], [0, 1]),
        ([], []),
    ],
)
def test_the_front_is_what_no_other_point_beats(points: list, front: list[int]) -> None:
    assert pareto_front(points, ["minimize", "maximize"]) == front
    turned = [(-cost, -value) for cost, value in points]
    assert pareto_front(turned, ["maximize", "minimize"]) == front


def test_the_best_value_is_first_equal_ones_stay_in_order_and_none_is_last() -> None:
    values = [0.5, None, 0.9, math.nan, 0.5, 0.9]
    assert best_first(values, "maximize") == [2, 5, 0, 4, 1, 3]
    assert best_first(values, "minimize") == [0, 4, 2, 5, 1, 3]
