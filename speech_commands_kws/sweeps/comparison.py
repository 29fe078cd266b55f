"""The comparison at the end of a multirun: one table of what each job was given and what it reached."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from speech_commands_kws.cli.terminal import WIDEST, short_names, write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.sweeps.results import OK, best_of, format_value, has_failed, varied_keys

TABLE_NAME = "comparison.txt"
FAILED = "failed"
BEST_MARK = "* best"
DIGITS = 4


def show(ranked: list[dict[str, Any]], objectives: Mapping[str, str], sweep_folder: Path) -> None:
    """Print the table and leave it in the sweep's folder."""
    path = sweep_folder / TABLE_NAME
    with path.open("w", encoding="utf-8") as file:
        write(ranked, objectives, file, WIDEST)
    write(ranked, objectives, sys.stdout)
    print(f"The runs lie in {display_name(sweep_folder)}, the whole table in {display_name(path)}")


def write(
    ranked: list[dict[str, Any]],
    objectives: Mapping[str, str],
    stream: TextIO,
    width: int | None = None,
) -> None:
    heads, rows = comparison_rows(ranked, objectives)
    stream.write(f"{len(ranked)} jobs compared by {' and '.join(objectives)}\n")
    settings = slice(1, len(varied_keys(ranked)) + 1)
    write_rows(stream, heads, rows, optional=["seconds", *heads[settings][::-1]], width=width)
    for result in filter(has_failed, ranked):
        stream.write(f"{result['folder'].name} failed: {display_name(result['status'])}\n")


def comparison_rows(
    ranked: list[dict[str, Any]], objectives: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells, one row a job in the order given; the best are marked, several for several objectives."""
    keys = varied_keys(ranked)
    best = best_of(ranked, objectives)
    rows = []
    for result in ranked:
        mark = BEST_MARK if result in best else ""
        values = [shorten(result["overrides"].get(key, "")) for key in keys]
        reached = [format_value(value) for value in result["values"] or ()]
        reached += [""] * (len(objectives) - len(reached))
        seconds = "" if result["seconds"] is None else f"{result['seconds']:.1f}"
        status = FAILED if has_failed(result) else result["status"].replace(OK, "")
        cells = [mark, *values, *reached, seconds, status, result["folder"].name]
        rows.append(list(map(display_name, cells)))
    names = [name.replace("_", "\n") for name in (*short_names(keys), *objectives)]
    return ["", *names, "seconds", "status", "run"], rows


def shorten(value: str) -> str:
    """A number that was sampled, with the digits that matter."""
    try:
        return f"{float(value):.{DIGITS}g}"
    except ValueError:
        return value
