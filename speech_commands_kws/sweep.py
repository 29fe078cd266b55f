"""The comparison at the end of a multirun: one table of what each job was given and what it reached.

Hydra loads this module at the start of every training, so it imports nothing slow.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

RESULT_NAME = "result.json"
TABLE_NAME = "comparison.txt"
TABLE_WIDTH = 160  # of the file; the terminal's own width counts on the terminal
OK = "ok"
BEST_MARK = "* best"


class ComparisonTable(Callback):
    """A Hydra callback: each job leaves a `result.json` in its folder, the end of the multirun compares them.

    Jobs may run in other processes, so the end reads only what they left on disk.
    """

    def __init__(self, metric: str, maximize: bool) -> None:
        """Name what `train` returns, for the head of its column, and say whether more of it is better."""
        self.metric = metric
        self.maximize = maximize
        self.started = 0.0

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            result = job_result(job_return) | {"seconds": round(time.monotonic() - self.started, 1)}
            path = Path(config.hydra.runtime.output_dir) / RESULT_NAME
            path.write_text(json.dumps(result), "utf-8")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        sweep_folder = Path(config.hydra.sweep.dir).resolve()
        results = read_results(sweep_folder)
        if results:
            show(rank(results, self.maximize), self.metric, sweep_folder)


def job_result(job_return: JobReturn) -> dict[str, Any]:
    """What one job was given and what came of it, as plain data."""
    outcome = job_return._return_value  # the public property prints and raises for a failed job
    overrides = dict(override.partition("=")[::2] for override in job_return.overrides)
    if job_return.status == JobStatus.COMPLETED:
        value = None if outcome is None else float(outcome)
        return {"overrides": overrides, "value": value, "status": OK}
    reason = f"{type(outcome).__name__}: {outcome}".splitlines()[0]
    return {"overrides": overrides, "value": None, "status": reason}


def read_results(sweep_folder: Path) -> list[dict[str, Any]]:
    """The result of every job that ended, with its `folder`."""
    return [
        json.loads(path.read_text("utf-8")) | {"folder": path.parent}
        for path in sweep_folder.glob(f"*/{RESULT_NAME}")
    ]


def rank(results: list[dict[str, Any]], maximize: bool) -> list[dict[str, Any]]:
    """Best first; jobs without a finite value last, in the order of their numbers."""
    sign = -1 if maximize else 1
    numbered = sorted(results, key=lambda result: (len(result["folder"].name), result["folder"]))
    return sorted(
        numbered, key=lambda result: sign * result["value"] if has_value(result) else math.inf
    )


def has_value(result: dict[str, Any]) -> bool:
    return result["value"] is not None and math.isfinite(result["value"])


def varied_keys(results: list[dict[str, Any]]) -> list[str]:
    """The overrides that differ between jobs, in the order in which they were given."""
    keys = list(dict.fromkeys(key for result in results for key in result["overrides"]))
    return [key for key in keys if len({result["overrides"].get(key) for result in results}) > 1]


def show(ranked: list[dict[str, Any]], metric: str, sweep_folder: Path) -> None:
    """Print the table and leave it in the sweep's folder."""
    from rich.console import Console

    table = comparison_table(ranked, metric)
    path = sweep_folder / TABLE_NAME
    with path.open("w", encoding="utf-8") as file:
        Console(file=file, width=TABLE_WIDTH).print(table)
    console = Console()
    console.print(table)
    where = f"The runs lie in {sweep_folder}, this table in {path}"
    console.print(where, markup=False, highlight=False, soft_wrap=True)


def comparison_table(ranked: list[dict[str, Any]], metric: str) -> Any:
    """A rich table, one row a job in the order given; the first is marked where it has a value."""
    from rich.table import Table
    from rich.text import Text

    keys = varied_keys(ranked)
    table = Table(title=f"{len(ranked)} jobs compared by {metric}")
    for head in ("", *keys, metric, "seconds", "status", "run"):
        table.add_column(Text(head), overflow="fold")
    for i, result in enumerate(ranked):
        mark = BEST_MARK if i == 0 and has_value(result) else ""
        values = [result["overrides"].get(key, "") for key in keys]
        value = "" if result["value"] is None else f"{result['value']:.4f}"
        cells = [mark, *values, value, f"{result['seconds']:.1f}", result["status"]]
        # As Text, because a value such as [computer,lights] would be read as rich markup.
        table.add_row(*map(Text, [*cells, result["folder"].name]), style="bold" if mark else None)
    return table
