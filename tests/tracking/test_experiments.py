"""Runs as they are compared: filters, order, what differs, and the front."""

import pytest
from standings import ACCURACY, standing

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.experiments import (
    pareto_front,
    parse_conditions,
    rank,
    require,
    require_metric,
    varied_settings,
)

RUNS = [
    standing("a", 0.9, settings={"optimizer.lr": "0.1", "data.words": "['yes', 'no']"}),
    standing(
        "b", 0.95, settings={"optimizer.lr": "1e-3"}, tags={"data": "tones", "git.dirty": "true"}
    ),
    standing("c", status="FAILED", settings={"optimizer.lr": "0.03"}, sweep="grid"),
]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("optimizer.lr > 0.01", "ac"),
        ("optimizer.lr>=0.03 AND optimizer.lr<0.1", "c"),
        ("optimizer.lr = 0.001", "b"),
        ("optimizer.lr == .1", "a"),
        ("optimizer.lr != 0.1", "bc"),
        (f"{ACCURACY} > 0.9", "b"),
        (f"{ACCURACY} > 0.5 and data = tones", "b"),
        ("data = 'tones'", "b"),
        ("data != tones", ""),
        ('status = FINISHED and run != "a"', "b"),
        ("sweep = grid", "c"),
        ("data.words = ['yes', 'no']", "a"),
        ("data < 3", ""),
    ],
)
def test_a_filter_keeps_the_runs_that_meet_all_conditions(where: str, kept: str) -> None:
    conditions = parse_conditions(where)
    found = [each.run for each in RUNS if all(part.holds(each) for part in conditions)]
    assert "".join(found) == kept


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("optimizer.lr", "with a sign of >= .* got 'optimizer.lr'"),
        ("", "NAME SIGN VALUE"),
        ("data = x and > 3", "got '> 3'"),
        ("data > tones", "expected a number after >, got 'data > tones'"),
    ],
)
def test_what_is_no_condition_is_refused(where: str, reason: str) -> None:
    with pytest.raises(KwsError, match=reason):
        parse_conditions(where)


def test_the_best_is_first_and_runs_without_a_number_are_last() -> None:
    runs = [*RUNS, standing("d", float("nan")), standing("e", 0.95), standing("f", float("inf"))]
    assert "".join(each.run for each in rank(runs, ACCURACY, descending=True)) == "beacdf"
    assert "".join(each.run for each in rank(runs, ACCURACY, descending=False)) == "abecdf"
    assert [each.run for each in rank(RUNS, "optimizer.lr", descending=True)] == ["a", "c", "b"]


def test_names_that_no_run_has_are_answered_with_those_that_exist() -> None:
    require(RUNS, ["optimizer.lr", "status", "data", ACCURACY], "columns")
    with pytest.raises(
        KwsError, match="no run has optimiser.lr, .* columns=: choose from optimizer"
    ):
        require(RUNS, ["optimiser.lr"], "columns")
    with pytest.raises(KwsError, match=f"where=: choose from {ACCURACY}"):
        require(RUNS, ["zzz"], "where")
    with pytest.raises(KwsError, match="no run has lr, .* choose from optimizer.lr$"):
        require(RUNS, ["lr"], "columns")
    require_metric(RUNS, "optimizer.lr")
    with pytest.raises(
        KwsError, match=f"a number accuracy, asked for by metric=: choose from {ACCURACY}$"
    ):
        require_metric(RUNS, "accuracy")
    with pytest.raises(KwsError, match="choose from none, nothing was measured"):
        require_metric(RUNS[2:], ACCURACY)


def test_settings_that_differ_once_each_and_without_the_ignored() -> None:
    def settings(seed: int, width: int, **more: str) -> dict[str, str]:
        both = {"seed": str(seed), "loader.seed": str(seed), "backbone.width": str(width)}
        return both | {"paths.root": f"/{seed}", "path": f"/{width}{seed}", "same": "1"} | more

    runs = [
        standing("a", settings=settings(0, 1)),
        standing("b", settings=settings(1, 1, momentum="0.9")),
        standing("c", settings=settings(1, 2)),
    ]
    assert varied_settings(runs, ["paths"]) == ["backbone.width", "momentum", "path", "seed"]
    assert varied_settings(runs, ["path", "paths", "momentum"]) == ["backbone.width", "seed"]
    assert varied_settings(runs[:1], []) == []
    assert varied_settings([runs[0], standing("failed at once")], []) == []


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.5), (2, 0.6), (3, 0.55), (4, 0.7)], [0, 1, 3]),
        ([(4, 0.7), (1, 0.5), (1, 0.6)], [2, 0]),
        ([(1, 0.9), (2, 0.9)], [0]),
        ([(1, 0.9), (1, 0.9)], [0]),
        ([], []),
    ],
)
def test_the_front_is_what_no_cheaper_run_reaches(points, front) -> None:
    assert pareto_front(points, descending=True) == front
    turned = [(cost, -value) for cost, value in points]
    assert pareto_front(turned, descending=False) == front
