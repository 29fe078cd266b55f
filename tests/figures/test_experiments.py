"""What the picture of a leaderboard holds."""

from pathlib import Path

import pytest
from standings import ACCURACY, standing

from speech_commands_kws.errors import KwsError
from speech_commands_kws.figures import experiments
from speech_commands_kws.figures.experiments import (
    COLOURS,
    OTHERS,
    by_data,
    plot_standings,
    points_of,
)

COSTS = [1e6, 2e6, 4e6, 4e6]


def trial(number: int, accuracy: float | None, cost: float | None, data: str = "tones"):
    found = standing(f"sweep/{number}", accuracy, tags={"data": data, "data_fingerprint": "ab" * 9})
    return found if cost is None else standing_with(found, cost)


def standing_with(found, cost: float):
    found.metrics["multiply_adds"] = cost
    return found


RANKED = [trial(i, 0.9 - i / 10, cost) for i, cost in enumerate(reversed(COSTS))]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """The figure instead of a file."""
    figures = []
    monkeypatch.setattr(experiments, "save", lambda figure, *about: figures.append(figure))
    return figures


def test_fronts_are_numbered_by_place_and_listed(drawn) -> None:
    plot_standings(RANKED, ACCURACY, True, "about", Path("x.png"))
    axes, listing = drawn[0].axes
    assert axes.get_xscale() == "log" and "multiply-adds" in axes.get_xlabel()
    faint, bright = axes.collections
    assert len(faint.get_offsets()) == 4
    # Places 1, 3 and 4: the second costs what the first does.
    assert sorted(bright.get_offsets()[:, 0]) == [1e6, 2e6, 4e6]
    assert sorted(label.get_text() for label in axes.texts) == ["1", "3", "4"]
    lines = [text.get_text() for text in listing.texts]
    assert lines[1:] == [
        "1  sweep/0  90.0%  4.00 M",
        "3  sweep/2  70.0%  2.00 M",
        "4  sweep/3  60.0%  1.00 M",
    ]


def test_each_data_set_has_a_front_of_its_own(drawn) -> None:
    ranked = [trial(0, 0.9, 1e6), trial(1, 0.5, 1e6, "voices"), trial(2, 0.4, 2e6, "voices")]
    plot_standings(ranked, ACCURACY, True, "about", Path("x.png"))
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.texts] == ["1", "2"]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["tones abababab", "voices abababab"]


def test_runs_without_both_figures_are_left_out(drawn) -> None:
    ranked = [trial(0, 0.9, None), trial(1, None, 1e6), trial(2, 0.5, 0.0), trial(3, 0.6, 1e6)]
    assert [point.place for point in points_of(ranked, ACCURACY)] == [4]
    with pytest.raises(KwsError, match="for a picture, got none"):
        plot_standings(ranked[:3], ACCURACY, True, "about", Path("x.png"))


def test_more_data_sets_than_colours_share_the_last(drawn) -> None:
    ranked = [trial(i, 0.5, 1e6, f"data{i}") for i in range(len(COLOURS) + 3)]
    groups = by_data(points_of(ranked, ACCURACY))
    assert len(groups) == len(COLOURS) + 1 and len(groups[OTHERS]) == 3
    plot_standings(ranked, ACCURACY, True, "about", Path("x.png"))
    assert len(drawn[0].axes[0].texts) == len(COLOURS)
