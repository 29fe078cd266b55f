"""What each job of a multirun reached: the file that it leaves in its folder, and which of them are the best.

Jobs may run in other processes, so a multirun reads only what they left on disk.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from speech_commands_kws.errors import summarize_error
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.tracking.runs import by_number
from speech_commands_kws.training.objectives import best_first, pareto_front

RESULT_NAME = "result.json"
OK, PRUNED = "ok", "pruned"
HIDDEN_KEYS = ("sweep.trial",)  # the name of the folder says it


def outcome_of(done: JobReturn, objectives: int) -> list[float] | str:
    """The values of a job, or why it has none."""
    value = done._return_value  # the public property prints and raises for a failed job
    if done.status != JobStatus.COMPLETED:
        return f"{type(value).__name__}: {summarize_error(value)}"
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) != objectives or not all(isinstance(each, (int, float)) for each in values):
        return f"expected {objectives} numbers from the training, got {value}"
    if not all(math.isfinite(each) for each in values):
        return f"expected finite numbers from the training, got {value}"
    return [float(each) for each in values]


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
    """What `write_result` left, if anything."""
    path = folder / RESULT_NAME
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def read_results(sweep_folder: Path) -> list[dict[str, Any]]:
    """The result of every job that ended, with its `folder`."""
    folders = [path.parent for path in sweep_folder.glob(f"*/{RESULT_NAME}")]
    return [result | {"folder": folder} for folder in folders if (result := read_result(folder))]


def rank(results: list[dict[str, Any]], objectives: Mapping[str, str]) -> list[dict[str, Any]]:
    """Best first by the first objective; jobs without a finite value last, in the order of their numbers."""
    numbered = sorted(results, key=lambda result: by_number(result["folder"]))
    values = [result["values"][0] if has_value(result) else None for result in numbered]
    return [numbered[i] for i in best_first(values, next(iter(objectives.values())))]


def best_of(results: list[dict[str, Any]], objectives: Mapping[str, str]) -> list[dict[str, Any]]:
    """The results that no other one is better than in every objective, of equal ones the first."""
    scored = [result for result in results if has_value(result) and result["status"] == OK]
    firsts: dict[tuple[float, ...], dict[str, Any]] = {}
    for result in scored:
        firsts.setdefault(tuple(result["values"]), result)
    front = pareto_front(list(firsts), list(objectives.values()))
    return [list(firsts.values())[i] for i in front]


def format_value(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4f}"


def has_value(result: dict[str, Any]) -> bool:
    return bool(result["values"]) and all(map(math.isfinite, result["values"]))


def has_failed(result: dict[str, Any]) -> bool:
    return result["status"] not in (OK, PRUNED)


def varied_keys(results: list[dict[str, Any]]) -> list[str]:
    """The overrides that differ between jobs, in the order in which they were given."""
    keys = list(dict.fromkeys(key for result in results for key in result["overrides"]))
    keys = [key for key in keys if key not in HIDDEN_KEYS]
    return [key for key in keys if len({result["overrides"].get(key) for result in results}) > 1]
