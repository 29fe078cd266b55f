import math
from pathlib import Path

import pytest
from sweep_results import result

from speech_commands_kws.sweeps.results import (
    best_of,
    rank,
    read_result,
    varied_keys,
    write_result,
)


def test_result_keeps_overrides_and_what_was_known_before(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    write_result(folder, ["optimizer.lr=0.1", "+name=a=b", "~logger"], [0.75], "ok", 1.5)
    assert read_result(folder) == {
        "overrides": {"optimizer.lr": "0.1", "+name": "a=b", "~logger": ""},
        "values": [0.75],
        "seconds": 1.5,
        "status": "ok",
    }
    write_result(folder, ["optimizer.lr=0.1"], None, "killed")
    assert read_result(folder) == {
        "overrides": {"optimizer.lr": "0.1"},
        "values": [0.75],
        "seconds": 1.5,
        "status": "killed",
    }


def test_front_has_what_nothing_else_is_better_than_in_all() -> None:
    objectives = {"accuracy": "maximize", "cost": "minimize"}
    values = {"0": [0.9, 10.0], "1": [0.8, 5.0], "2": [0.8, 6.0], "3": [0.9, 10.0], "4": None}
    results = [
        result(name, None) | {"values": each, "status": "ok"} for name, each in values.items()
    ]
    assert [each["folder"].name for each in best_of(results, objectives)] == ["0", "1"]
    results[0]["status"] = "pruned"
    assert [each["folder"].name for each in best_of(results, objectives)] == ["1", "3"]


@pytest.mark.parametrize(
    ("direction", "order"),
    [("maximize", ["2", "10", "0", "1", "3"]), ("minimize", ["0", "2", "10", "1", "3"])],
)
def test_rank_puts_the_best_first_and_what_has_no_value_last(direction, order) -> None:
    values = {"10": 0.9, "1": math.nan, "3": None, "0": 0.5, "2": 0.9}
    results = [result(folder, value) for folder, value in values.items()]
    assert [each["folder"].name for each in rank(results, {"accuracy": direction})] == order


def test_varied_keys_leave_out_what_all_jobs_share() -> None:
    results = [result("0", 1.0, lr="1", width="2"), result("1", 1.0, lr="3", width="2", more="x")]
    assert varied_keys(results) == ["lr", "more"]
