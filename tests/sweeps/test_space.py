"""What overrides make of a space, and what cannot be searched."""

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.space import grid, read_space


def test_what_has_several_values_is_searched_and_the_rest_fixed() -> None:
    space = read_space(["optimizer.lr=tag(log,interval(0.01,0.5))", "seed=1", "~sweep"])
    lr = space.searched["optimizer.lr"]
    assert (lr.low, lr.high, lr.log) == (0.01, 0.5, True)
    assert space.fixed == {"seed": "1"} or space.fixed == {"seed": 1}
    assert len(space.deleted) == 1


def test_a_later_override_counts_more() -> None:
    space = read_space(["seed=choice(1,2)", "backbone.width=1,2", "seed=3"])
    assert list(space.searched) == ["backbone.width"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(["seed=1"], "expected something to search"), (["seed=glob(*)"], "nothing can be drawn from")],
)
def test_what_cannot_be_searched_is_one_clear_error(overrides: list[str], message: str) -> None:
    with pytest.raises(KwsError, match=message):
        read_space(overrides)


def test_a_grid_has_every_point_and_the_last_parameter_changes_fastest() -> None:
    searched = read_space(["seed=1,2", "width=3,4"]).searched
    points = [tuple(int(value) for value in point.values()) for point in grid(searched)]
    assert points == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_an_interval_makes_no_grid() -> None:
    with pytest.raises(KwsError, match="expected lists of values for a grid, got an interval"):
        grid(read_space(["lr=interval(0.1,0.2)"]).searched)
