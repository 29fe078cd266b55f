"""The comparison at the end of a multirun: one table of what each job was given and what it reached.

Hydra loads this module at the start of every training, so it imports nothing slow.
"""

import json
import math
import operator
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from speech_commands_kws.errors import summarize_error
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.training.objectives import MAXIMIZE

RESULT_NAME = "result.json"
TABLE_NAME = "comparison.txt"
TABLE_WIDTH = 160  # of the file; the terminal's own width counts on the terminal
STUDY_SWEEPER = "speech_commands_kws.sweeps.sweeper.StudySweeper"
WIDEST = 10_000  # of a terminal
OK, PRUNED = "ok", "pruned"
FAILED = "failed"
BEST_MARK = "* best"
DIGITS = 4
HIDDEN_KEYS = ("sweep.trial",)  # the name of the folder says it


class ComparisonTable(Callback):
    """A Hydra callback: each job leaves a `result.json` in its folder, the end of the multirun compares them.

    Jobs may run in other processes, so the end reads only what they left on disk.
    """

    def __init__(self, objectives: Mapping[str, str]) -> None:
        """Name what `train` returns, in its order, and say whether to maximize or minimize it."""
        self.objectives = dict(objectives or {})
        self.began = False
        self.started = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.began = True

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            seconds = round(time.monotonic() - self.started, 1)
            outcome = (
                job_return._return_value
            )  # the public property prints and raises for a failed job
            folder = Path(config.hydra.runtime.output_dir)
            if job_return.status == JobStatus.COMPLETED:
                write_result(folder, job_return.overrides, as_values(outcome), OK, seconds)
            else:
                reason = f"{type(outcome).__name__}: {summarize_error(outcome)}"
                write_result(folder, job_return.overrides, None, reason, seconds)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not self.began:  # Hydra calls the end of a multirun that was refused too
            return
        sweep_folder = Path(config.hydra.sweep.dir).resolve()
        results = read_results(sweep_folder)
        if results:
            show(rank(results, self.objectives), self.objectives, sweep_folder)


def is_study(config: DictConfig) -> bool:
    """Whether the jobs of a multirun are the trials of a study, and not a plain grid."""
    return config.hydra.sweeper.get("_target_") == STUDY_SWEEPER


def as_values(outcome: Any) -> list[float] | None:
    """What a training returned: a number for each objective, or nothing."""
    if outcome is None:
        return None
    return [float(each) for each in (outcome if isinstance(outcome, (list, tuple)) else [outcome])]


def write_result(
    folder: Path,
    overrides: Sequence[str],
    values: list[float] | None,
    status: str,
    seconds: float | None = None,
) -> None:
    """What one job was given and what came of it; `seconds` and values known before are kept."""
    result = read_result(folder) or {"values": None, "seconds": None}
    given = {"values": values, "seconds": seconds}
    result |= {key: value for key, value in given.items() if value is not None}
    result |= {"overrides": dict(each.partition("=")[::2] for each in overrides), "status": status}
    write_whole(folder / RESULT_NAME, json.dumps(result))


def read_result(folder: Path) -> dict[str, Any] | None:
    """What `write_result` left; where that cannot be read, nothing but why."""
    path = folder / RESULT_NAME
    try:
        return json.loads(path.read_text("utf-8")) if path.is_file() else None
    except ValueError as error:
        status = f"{path} cannot be read ({error})"
        return {"values": None, "seconds": None, "overrides": {}, "status": status}


def read_results(sweep_folder: Path) -> list[dict[str, Any]]:
    """The result of every job that ended, with its `folder`."""
    folders = [path.parent for path in sweep_folder.glob(f"*/{RESULT_NAME}")]
    return [result | {"folder": folder} for folder in folders if (result := read_result(folder))]


def rank(results: list[dict[str, Any]], objectives: Mapping[str, str]) -> list[dict[str, Any]]:
    """Best first by the first objective; jobs without a finite value last, in the order of their numbers."""
    sign = -1 if next(iter(objectives.values())) == MAXIMIZE else 1
    numbered = sorted(results, key=lambda result: (len(result["folder"].name), result["folder"]))
    return sorted(
        numbered, key=lambda result: sign * result["values"][0] if has_value(result) else math.inf
    )


def has_value(result: dict[str, Any]) -> bool:
    return bool(result["values"]) and all(map(math.isfinite, result["values"]))


def has_failed(result: dict[str, Any]) -> bool:
    return result["status"] not in (OK, PRUNED)


def front(results: list[dict[str, Any]], objectives: Mapping[str, str]) -> list[dict[str, Any]]:
    """The results that no other one is better than in every objective."""
    signs = [1 if direction == MAXIMIZE else -1 for direction in objectives.values()]
    scored = [
        (result, [sign * value for sign, value in zip(signs, result["values"], strict=True)])
        for result in results
        if has_value(result) and result["status"] == OK
    ]
    return [
        result
        for result, score in scored
        if not any(other != score and all(map(operator.ge, other, score)) for _, other in scored)
    ]


def varied_keys(results: list[dict[str, Any]]) -> list[str]:
    """The overrides that differ between jobs, in the order in which they were given."""
    results = [result for result in results if result["overrides"]]  # else it could not be read
    keys = list(dict.fromkeys(key for result in results for key in result["overrides"]))
    keys = [key for key in keys if key not in HIDDEN_KEYS]
    return [key for key in keys if len({result["overrides"].get(key) for result in results}) > 1]


def show(ranked: list[dict[str, Any]], objectives: Mapping[str, str], sweep_folder: Path) -> None:
    """Print the table and leave it in the sweep's folder."""
    from rich.console import Console

    table = comparison_table(ranked, objectives)
    reasons = [
        f"{each['folder'].name} failed: {each['status']}" for each in ranked if has_failed(each)
    ]
    path = sweep_folder / TABLE_NAME
    with path.open("w", encoding="utf-8") as file:
        Console(file=file, width=TABLE_WIDTH).print(table)
        file.writelines(f"{reason}\n" for reason in reasons)
    console = Console()
    if fits(table, console):
        console.print(table)
    else:
        for line in comparison_lines(ranked, objectives):
            console.print(line)
    for line in [*reasons, f"The runs lie in {sweep_folder}, this table in {path}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def fits(table: Any, console: Any) -> bool:
    """Whether no cell of it has to be broken."""
    return (
        console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
        <= console.width
    )


def comparison_rows(
    ranked: list[dict[str, Any]], objectives: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells, one row a job in the order given; the best are marked, several for several objectives."""
    keys = varied_keys(ranked)
    best = front(ranked, objectives)
    rows = []
    for result in ranked:
        mark = BEST_MARK if result in best else ""
        values = [shortened(result["overrides"].get(key, "")) for key in keys]
        reached = [shown(value) for value in result["values"] or ()]
        reached += [""] * (len(objectives) - len(reached))
        seconds = "" if result["seconds"] is None else f"{result['seconds']:.1f}"
        status = FAILED if has_failed(result) else result["status"]
        rows.append([mark, *values, *reached, seconds, status, result["folder"].name])
    return ["", *short_names(keys), *objectives, "seconds", "status", "run"], rows


def comparison_table(ranked: list[dict[str, Any]], objectives: Mapping[str, str]) -> Any:
    """A rich table."""
    from rich.table import Table
    from rich.text import Text

    heads, rows = comparison_rows(ranked, objectives)
    table = Table(title=f"{len(ranked)} jobs compared by {' and '.join(objectives)}")
    for head in heads:
        table.add_column(Text(head), overflow="fold")
    for mark, *cells in rows:
        # As Text, because a value such as [computer,lights] would be read as rich markup.
        table.add_row(*map(Text, [mark, *cells]), style="bold" if mark else None)
    return table


def comparison_lines(ranked: list[dict[str, Any]], objectives: Mapping[str, str]) -> Iterator[Any]:
    """The same for a terminal that is too narrow for a table: a paragraph for each job, as rich texts."""
    from rich.text import Text

    (_, *heads, _), rows = comparison_rows(ranked, objectives)
    for mark, *cells, run in rows:
        facts = [f"{head} {cell}" for head, cell in zip(heads, cells, strict=True) if cell]
        yield Text(f"{run} {mark}".strip() + ": " + ", ".join(facts), "bold" if mark else "")


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key; the whole key where two would read alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def shortened(value: str) -> str:
    """A sampled number with the digits that matter."""
    try:
        return f"{float(value):.{DIGITS}g}"
    except ValueError:
        return value


def shown(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4f}"
