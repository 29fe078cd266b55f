"""Runs as they are compared: how they are read, conditions, order, and what differs."""

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Metric, Param

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.experiments import (
    keyword_sets,
    rank,
    read_runs,
    require,
    select,
    summarize,
    varied_settings,
)
from speech_commands_kws.tracking.mlflow_run import SERVER_RUN_TAG, client_of
from speech_commands_kws.tracking.mlflow_store import sqlite_uri

ACCURACY = "best_validation_accuracy"


def table(**columns: list) -> pd.DataFrame:
    """Runs a, b, c and so on, in which a column such as `params__optimizer__lr` is `params.optimizer.lr`."""
    count = len(next(iter(columns.values())))
    names = list("abcdefgh"[:count])
    own = {"run": names, "commit": None, "sweep": None, "status": "FINISHED"}
    own |= {"started": names, "run_id": names}
    recorded = {name.replace("__", "."): values for name, values in columns.items()}
    return pd.DataFrame(own | recorded)


RUNS = table(
    status=["FINISHED", "FINISHED", "FAILED"],
    sweep=[None, None, "grid/2"],
    metrics__best_validation_accuracy=[0.9, 0.95, None],
    params__optimizer__lr=[0.1, 1e-3, 0.03],
    params__data__words=["['yes', 'no']", None, None],
    tags__data=[None, "tones", None],
    tags__fingerprint=["0123", "12e4", None],
    **{"tags__mix-up/rate": [None, "3", "10"]},
)


def names(runs: pd.DataFrame) -> str:
    return "".join(runs["run"])


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("optimizer.lr > 0.01", "ac"),
        ("optimizer.lr>=0.03 AND optimizer.lr<0.1", "c"),
        ("optimizer.lr = 0.001", "b"),
        ("optimizer.lr == .1", "a"),
        ("optimizer.lr != 0.1", "bc"),
        ("optimizer.lr in [.1, 3e-2]", "ac"),
        ("optimizer.lr>-1", "abc"),
        (f"{ACCURACY} > 0.9", "b"),
        (f"{ACCURACY} != 0.9", "b"),
        (f"{ACCURACY} > 0.5 and data = tones", "b"),
        ("data = 'tones'", "b"),
        ('status = FINISHED and run != "a"', "b"),
        ("sweep = grid/2", "c"),
        ("data.words = ['yes', 'no']", "a"),
        ("data = tones or run = c", "bc"),
        ("run in [a, 'c'] and not (run = c)", "a"),
        ("not run = a and (optimizer.lr > 1 or status = FAILED)", "c"),
        ("data Not In [voices]", "b"),
        ("run in a", "a"),
        ("run = 'a' or run = \"a and 'b'\"", "a"),
        ("fingerprint = 0123", "a"),
        ("fingerprint = 12e4", "b"),
        ("mix-up/rate > 2", "bc"),
        ("  run\n=\ta ", "a"),
    ],
)
def test_a_condition_keeps_the_runs_that_meet_it(where: str, kept: str) -> None:
    assert names(select(RUNS, where)) == kept


@pytest.mark.parametrize(
    "where",
    [
        *(
            "",
            " \n",
            "optimizer.lr",
            "optimizer.lr >",
            "> 3",
            "data = x and > 3",
            "run = a run = b",
        ),
        *("run = a or", "not", "()", "run in [a", "(run = a", "run = a)", "(run = a)(run = b)"),
        *(
            "data = two words",
            "data = 'tones",
            "data = \"tones'",
            "run == == a",
            "run = a & run = b",
        ),
        *("() and run = a", "0 < optimizer.lr < 1 < 2", "optimizer.lr > nan", "run = a, run = b"),
    ],
)
def test_what_is_no_condition_is_refused(where: str) -> None:
    with pytest.raises(KwsError, match="where='NAME SIGN VALUE .* got|no run has 0, asked"):
        select(RUNS, where)


@pytest.mark.parametrize(
    "where",
    [
        *("@pd", "@RUNS.run = a", "run = @names", "__import__('os')", "run.str.len() = 1"),
        *("run = __import__('os').getcwd()", "run.__class__ = a", "column_0 = a", "run = column_0"),
        *("(run = a).any()", "[run for run in [a]]", "lambda: run = a", "run = `run`", "True"),
    ],
)
def test_no_python_is_evaluated(where: str) -> None:
    with pytest.raises(KwsError, match="NAME SIGN VALUE|no run has|none of the 3 runs meets"):
        select(RUNS, where)


def test_of_things_with_one_name_a_metric_comes_before_a_setting_and_a_tag() -> None:
    runs = table(metrics__steps=[1.0, 2.0], params__steps=[2.0, 1.0], tags__status=["a", "b"])
    assert names(select(runs, "steps = 1 and status = FINISHED")) == "a"


def test_texts_and_numbers_do_not_compare() -> None:
    for where in ("data > tones", "data < 3", "optimizer.lr > tones", "optimizer.lr in [1, tones]"):
        with pytest.raises(KwsError, match="^'.*' needs numbers on both sides"):
            select(RUNS, where)


def test_a_condition_that_none_meets_is_named() -> None:
    with pytest.raises(
        KwsError, match="none of the 3 runs meets where='run = d': relax the conditions"
    ):
        select(RUNS, "run = d")


def test_the_best_is_first_and_runs_without_a_number_are_last() -> None:
    runs = table(metrics__best_validation_accuracy=[0.9, 0.95, None, math.nan, 0.95])
    assert names(rank(runs, ACCURACY, descending=True)) == "beacd"
    assert names(rank(runs, ACCURACY, descending=False)) == "abecd"
    assert names(rank(RUNS, "optimizer.lr", descending=True)) == "acb"
    alike = pd.DataFrame({"run": range(100), f"metrics.{ACCURACY}": [0.5] * 50 + [0.6] * 50})
    assert list(rank(alike, ACCURACY, descending=True)["run"]) == [*range(50, 100), *range(50)]
    with pytest.raises(KwsError, match=f"metric=data is not a number: choose from {ACCURACY}"):
        rank(RUNS, "data", descending=True)
    with pytest.raises(
        KwsError, match="no run has loss, .* metric=: choose from none, nothing was"
    ):
        rank(RUNS.drop(columns=f"metrics.{ACCURACY}"), "loss", descending=True)


def test_names_that_no_run_has_are_answered_with_those_that_exist() -> None:
    require(RUNS, ["optimizer.lr", "status", "data", ACCURACY], "columns")
    with pytest.raises(
        KwsError, match="no run has optimiser.lr, .* columns=: choose from optimizer"
    ):
        require(RUNS, ["optimiser.lr"], "columns")
    with pytest.raises(KwsError, match=f"where=: choose from {ACCURACY}$"):
        select(RUNS, "zzz = 1")
    with pytest.raises(KwsError, match="no run has lr, .* choose from optimizer.lr$"):
        select(RUNS, "run = a or lr > 1")


def test_settings_that_differ_once_each_and_without_the_ignored() -> None:
    runs = table(
        params__seed=[0, 1, 1],
        params__loader__seed=[0, 1, 1],
        params__backbone__width=[1, 1, 2],
        params__paths__root=["/0", "/1", "/1"],
        params__path=["/10", "/11", "/21"],
        params__same=["1", "1", "1"],
        params__momentum=[None, 0.9, None],
    )
    assert varied_settings(runs, ["paths"]) == ["backbone.width", "momentum", "path", "seed"]
    assert varied_settings(runs, ["path", "paths", "momentum"]) == ["backbone.width", "seed"]
    assert varied_settings(runs[:1], []) == []
    failed_at_once = table(run=["d"])
    assert varied_settings(pd.concat([runs[:1], failed_at_once]), []) == []
    assert varied_settings(failed_at_once, []) == []


def test_the_facts_of_a_run_are_in_order_and_none_where_there_are_none() -> None:
    ranked = RUNS.assign(**{"metrics.parameters": [1e4, None, 2e4], "tags.git.dirty": "true"})
    facts = summarize(ranked, ACCURACY, ["optimizer.lr", "run", "sweep"]).to_dict("records")
    assert list(facts[0]) == [
        *("place", "run", ACCURACY, "optimizer.lr", "sweep", "multiply_adds", "parameters"),
        *("onnx_latency_ms", "data", "data_fingerprint", "commit", "dirty", "status", "started"),
        "run_id",
    ]
    assert [row["place"] for row in facts] == [1, 2, 3]
    assert [row["parameters"] for row in facts] == [10_000, None, 20_000]
    assert isinstance(facts[0]["parameters"], int) and facts[0]["dirty"] is True
    assert (facts[2][ACCURACY], facts[2]["multiply_adds"], facts[0]["data"]) == (None, None, None)


def test_runs_are_read_with_their_numbers_and_without_parents_and_originals(
    empty_store: Path, tmp_path: Path
) -> None:
    uri = sqlite_uri(shutil.copy(empty_store, tmp_path / "mlflow.db"))
    client = client_of(uri)
    experiment = client.create_experiment("words")

    def record(name: str, settings: dict, loss: float, **tags: str) -> str:
        run = client.create_run(experiment, run_name=name, tags=tags, start_time=len(name) * 1000)
        params = [Param(key, str(value)) for key, value in settings.items()]
        client.log_batch(run.info.run_id, [Metric("loss", loss, 0, 0)], params)
        return run.info.run_id

    sweep = record("sweep", {"sweep.name": "s"}, 0.0)
    original = record("lost", {"only_here": 1}, 0.0)
    record(
        "sweep/10", {"lr": 0.1, "momentum": None, "steps": 3}, 0.5, **{"mlflow.parentRunId": sweep}
    )
    record(
        "copy", {"lr": 1, "momentum": 0.9, "steps": "all"}, math.inf, **{SERVER_RUN_TAG: original}
    )
    runs = read_runs(uri, "words")
    assert list(runs["run"]) == ["copy", "sweep/10"]
    assert list(runs["started"]) == ["1970-01-01T00:00:04Z", "1970-01-01T00:00:08Z"]
    assert list(runs["sweep"].fillna("")) == ["", "sweep"]
    assert list(runs["params.lr"]) == [1, 0.1]
    assert list(runs["params.steps"]) == ["all", "3"]
    assert list(runs["params.momentum"].fillna(-1)) == [0.9, -1]
    assert list(runs["metrics.loss"].fillna(-1)) == [-1, 0.5]
    assert not {"params.sweep.name", "params.only_here"} & set(runs.columns)


def test_a_choice_stands_for_the_settings_that_only_it_has() -> None:
    runs = pd.DataFrame(
        {
            "params.choices.augment": ["recipe", "robust", "robust"],
            "params.augment.mixup.least": [None, 0.1, 0.1],
            "params.augment.share": [0.1, 0.2, 0.3],
            "params.sweep_key": [None, 1.0, 2.0],
            "tags.labels": ["a", "b", "a"],
        }
    )
    assert varied_settings(runs, []) == ["choices.augment", "augment.share", "sweep_key"]
    assert keyword_sets(runs) == 2
