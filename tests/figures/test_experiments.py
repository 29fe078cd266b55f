"""What the picture of a leaderboard holds."""

from pathlib import Path

import pandas as pd
import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.figures import experiments
from speech_commands_kws.figures.experiments import COLOURS, OTHERS, data_of, plot_runs

ACCURACY = "best_validation_accuracy"
COSTS = [1e6, 2e6, 4e6, 4e6]


def ranked(*trials: tuple) -> pd.DataFrame:
    """Runs in the order of their places, each (accuracy, multiply-adds) and, if it is not tones, its data."""
    rows = [
        {
            "place": i + 1,
            "run": f"sweep/{i}",
            ACCURACY: accuracy,
            "multiply_adds": cost,
            "data": data[0] if data else "tones",
            "data_fingerprint": "ab" * 9,
        }
        for i, (accuracy, cost, *data) in enumerate(trials)
    ]
    return pd.DataFrame(rows, dtype=object)


RANKED = ranked(*((0.9 - i / 10, cost) for i, cost in enumerate(reversed(COSTS))))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """The figure instead of a file."""
    figures = []
    monkeypatch.setattr(experiments, "save", lambda figure, *about: figures.append(figure))
    return figures


def test_fronts_are_numbered_by_place_and_listed(drawn) -> None:
    plot_runs(RANKED, ACCURACY, True, "about", Path("x.png"))
    axes, listing = drawn[0].axes
    assert axes.get_xscale() == "log" and "multiply-adds" in axes.get_xlabel()
    faint, bright = axes.collections
    assert len(faint.get_offsets()) == 4
    # Places 1, 3 and 4: the second costs what the first does.
    assert list(bright.get_offsets()[:, 0]) == [1e6, 2e6, 4e6]
    assert sorted(label.get_text() for label in axes.texts) == ["1", "3", "4"]
    lines = [text.get_text() for text in listing.texts]
    assert lines[1:] == [
        "1  sweep/0  90.0%  4.00 M",
        "3  sweep/2  70.0%  2.00 M",
        "4  sweep/3  60.0%  1.00 M",
    ]


def test_where_less_is_better_the_front_is_the_lowest(drawn) -> None:
    plot_runs(RANKED[::-1], ACCURACY, False, "about", Path("x.png"))
    assert [label.get_text() for label in drawn[0].axes[0].texts] == ["4"]


def test_of_runs_that_are_alike_the_first_is_numbered(drawn) -> None:
    plot_runs(ranked((0.9, 1e6), (0.9, 1e6)), ACCURACY, True, "about", Path("x.png"))
    assert [label.get_text() for label in drawn[0].axes[0].texts] == ["1"]


def test_each_data_set_has_a_front_of_its_own(drawn) -> None:
    runs = ranked((0.9, 1e6), (0.5, 1e6, "voices"), (0.4, 2e6, "voices"))
    plot_runs(runs, ACCURACY, True, "about", Path("x.png"))
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.texts] == ["1", "2"]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["tones abababab", "voices abababab"]


def test_runs_without_both_figures_are_left_out(drawn) -> None:
    runs = ranked((0.9, None), (None, 1e6), (0.5, 0.0), (0.6, 1e6))
    plot_runs(runs, ACCURACY, True, "about", Path("x.png"))
    assert [label.get_text() for label in drawn[0].axes[0].texts] == ["4"]
    with pytest.raises(KwsError, match="for a picture, got none"):
        plot_runs(runs[:3], ACCURACY, True, "about", Path("x.png"))


def test_more_data_sets_than_colours_share_the_last(drawn) -> None:
    runs = ranked(*((0.5, 1e6, f"data{i}") for i in range(len(COLOURS) + 3)))
    names = data_of(runs)
    assert names.nunique() == len(COLOURS) + 1 and sum(names == OTHERS) == 3
    plot_runs(runs, ACCURACY, True, "about", Path("x.png"))
    (places,) = drawn[0].axes[0].texts
    assert len(places.get_text().split(", ")) == len(COLOURS)


def test_runs_that_do_not_name_their_data_share_a_name() -> None:
    runs = ranked((0.5, 1e6, None), (0.5, 1e6)).assign(data_fingerprint=[None, "12"])
    assert list(data_of(runs)) == ["unknown data", "tones 12"]


def test_places_of_dots_that_lie_close_together_share_a_text_and_the_axis_has_a_width(
    drawn,
) -> None:
    runs = ranked((0.9, 2_481_932), (0.8999, 2_481_900), (0.8998, 2_481_800), (0.5, 2_481_000))
    plot_runs(runs, ACCURACY, True, "about", Path("x.png"))
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.texts] == ["1, 2, 3", "4"]
    low, high = axes.get_xlim()
    assert low < 1.7e6 and high > 3.7e6
