import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.space import grid, read_space


def test_what_is_searched_fixed_and_taken_away() -> None:
    space = read_space(["lr=interval(0.1,1)", "width=1,2", "seed=3", "~logger"])
    assert list(space.searched) == ["lr", "width"]
    assert (space.fixed, space.deleted) == ({"seed": "3"}, ["~logger"])


def test_a_later_override_counts_more() -> None:
    space = read_space(["lr=interval(0.1,1)", "width=1,2", "lr=0.5"])
    assert list(space.searched) == ["width"] and list(space.fixed) == ["lr"]


@pytest.mark.parametrize("override", ["lr=interval(1,0)", "lr=tag(log,interval(0,1))"])
def test_what_nothing_can_be_drawn_from_is_refused(override: str) -> None:
    with pytest.raises(KwsError, match="nothing can be drawn from lr="):
        read_space([override])


def test_a_search_of_nothing_is_refused() -> None:
    with pytest.raises(KwsError, match="expected something to search"):
        read_space(["lr=0.1"])


def test_the_last_parameter_of_a_grid_changes_fastest() -> None:
    points = grid(read_space(["lr=0.1,0.3", "kind=choice(a,b)"]).searched)
    assert [(point["lr"], point["kind"]) for point in points] == [
        *[(0.1, "a"), (0.1, "b"), (0.3, "a"), (0.3, "b")]
    ]
    with pytest.raises(KwsError, match="lists of values for a grid, got an interval"):
        grid(read_space(["lr=interval(0,1)"]).searched)
