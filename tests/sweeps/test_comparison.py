import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from small_commands import ENTRY

from speech_commands_kws.sweeps.comparison import (
    RESULT_NAME,
    TABLE_NAME,
    comparison_lines,
    comparison_table,
    fits,
    front,
    rank,
    read_result,
    read_results,
    varied_keys,
    write_result,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SLOW_PACKAGES = {"torch", "lightning", "mlflow", "matplotlib", "librosa"}
# A command of the same shape as ours: it answers with a number, or with a mistake of the user.
COMMAND = """
import hydra
from speech_commands_kws.cli.launch import EXECUTION_WHITELIST, run_command
from speech_commands_kws.errors import KwsError

def run(cfg):
    if cfg.rate > 2:
        raise KwsError(f"a rate of {cfg.rate} is [bold]too much[/bold]")
    return cfg.rate / 2
"""
CONFIG = f"""
defaults:
  - override hydra/callbacks: comparison
  - _self_
rate: 0.5
words: [yes, no]
sweep: {{objectives: {{accuracy: maximize}}}}
hydra:
  searchpath: ["file://{CONFIGS}"]
  run: {{dir: single}}
  sweep: {{dir: sweep, subdir: "${{hydra:job.num}}"}}
"""


ACCURACY = {"accuracy": "maximize"}


def result(folder: str, value: float | None, **overrides: str) -> dict:
    return {
        "folder": Path("sweep") / folder,
        "values": None if value is None else [value],
        "overrides": overrides,
        "seconds": 1.25,
        "status": "ok" if value is not None else "KwsError: no",
    }


def start_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "command.py").write_text(COMMAND + ENTRY)
    (folder / "command.yaml").write_text(CONFIG)
    return subprocess.run(
        [sys.executable, "command.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(CONFIGS.parent), "COLUMNS": "160"},
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
    assert [each["folder"].name for each in front(results, objectives)] == ["0", "1", "3"]
    results[0]["status"] = "pruned"
    assert [each["folder"].name for each in front(results, objectives)] == ["1", "3"]


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


def test_table_marks_only_a_best_that_has_a_value() -> None:
    def render(results: list[dict]) -> list[str]:
        text = io.StringIO()
        Console(file=text, width=120).print(comparison_table(results, ACCURACY))
        return text.getvalue().splitlines()

    lines = render([result("1", 0.93456, words="[yes,no]"), result("0", None, words="[go]")])
    best = next(line for line in lines if "* best" in line)
    assert [cell.strip() for cell in best.split("│")[1:-1]] == [
        *["* best", "[yes,no]", "0.9346", "1.2", "ok", "1"]
    ]
    assert sum("* best" in line for line in lines) == 1
    assert not any("* best" in line for line in render([result("0", None)]))


def test_a_narrow_terminal_breaks_no_number() -> None:
    results = [
        result(str(i), 0.93 + i / 100, **{f"part.setting_{j}": f"{i}.{j}23" for j in range(8)})
        for i in range(2)
    ]
    narrow = Console(file=io.StringIO(), width=80)
    assert not fits(comparison_table(results, ACCURACY), narrow)
    assert fits(comparison_table(results[:1], ACCURACY), narrow)
    narrow.print(*comparison_lines(rank(results, ACCURACY), ACCURACY), sep="\n")
    lines = narrow.file.getvalue().splitlines()
    assert lines[0].startswith("1 * best: setting_0 1.023, setting_1 1.123, ")
    words = " ".join(lines).replace(",", "").split()
    assert {"0.9400", "0.9300", "setting_7", "0.723", "1.723"} <= set(words)


def test_a_result_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    for number in range(3):
        write_result(tmp_path / str(number), [f"lr=0.{number}", "width=1"], [0.5], "ok", 1.0)
    (tmp_path / "1" / RESULT_NAME).write_text('{"values": [0.5], "sec')
    ranked = rank(read_results(tmp_path), ACCURACY)
    assert [each["folder"].name for each in ranked] == ["0", "2", "1"]
    assert f"{tmp_path / '1' / RESULT_NAME} cannot be read" in ranked[2]["status"]
    assert varied_keys(ranked) == ["lr"]
    write_result(tmp_path / "1", ["lr=0.1"], [0.7], "ok")
    assert read_result(tmp_path / "1")["values"] == [0.7]


def test_multirun_prints_one_table_and_leaves_it(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,1.5", "words=[yes,no],[go]")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 4
    assert "1.5" in rows[0] and "[yes,no]" in rows[0] and "0.7500" in rows[0] and "2" in rows[0]
    assert str(tmp_path / "sweep" / TABLE_NAME) in done.stdout
    assert (tmp_path / "sweep" / TABLE_NAME).read_text().count("0.7500") == 2
    values = {each["folder"].name: each["values"] for each in read_results(tmp_path / "sweep")}
    assert values == {"0": [0.25], "1": [0.25], "2": [0.75], "3": [0.75]}


def test_multirun_with_a_failed_job_still_compares_the_others(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,3,1")
    assert done.returncode == 1
    rows = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert ["0.5000" in rows[0], "0.2500" in rows[1], "failed" in rows[2]] == [True] * 3
    assert "1 failed: KwsError: a rate of 3 is [bold]too much[/bold]" in done.stdout
    failed = json.loads((tmp_path / "sweep" / "1" / RESULT_NAME).read_text())
    assert failed["overrides"] == {"rate": "3"} and failed["values"] is None


def test_single_run_prints_no_table(tmp_path: Path) -> None:
    done = start_command(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert not list(tmp_path.rglob(RESULT_NAME))


def test_import_is_light() -> None:
    code = "import sys, speech_commands_kws.sweeps.comparison; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not SLOW_PACKAGES & set(loaded.stdout.split())
