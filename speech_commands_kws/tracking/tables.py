"""The runs of an experiment as a table for a person to read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from speech_commands_kws.cli.terminal import folded, short_names, text_console, write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.tracking.experiments import COUNTS

if TYPE_CHECKING:
    from pandas import DataFrame

SHORT = 8  # characters of a fingerprint or a commit
SHORT_CELL = 12
MOST_NAMED = 8  # of the columns that are left out
FINISHED = "FINISHED"
DIRTY_MARK = "*"
# What stands in another column, or is for programs.
HIDDEN = ("data_fingerprint", "dirty", "started", "run_id")
ALWAYS_SHOWN = 3  # place, run and metric


def write_runs(title: str, runs: "DataFrame", stream: TextIO) -> None:
    """Write what `experiments.summarize` returns, without columns that are empty or for which there is no room."""
    rows = [readable(run) for run in runs.to_dict("records")]
    names = dict(zip(map(head_of, short_names(list(rows[0]))), rows[0]))
    optional = [head for head in reversed(names) if head != "status"][:-ALWAYS_SHOWN]
    console = text_console(stream)
    console.print(display_name(title), soft_wrap=True)
    cells = [[shown(name, text) for name, text in row.items()] for row in rows]
    left_out = [names[head] for head in write_rows(stream, list(names), cells, optional=optional)]
    if any(row["commit"].endswith(DIRTY_MARK) for row in rows) and "commit" not in left_out:
        console.print(f"{DIRTY_MARK} with changes that were not committed", soft_wrap=True)
    if left_out:
        named = ", ".join(left_out[::-1][:MOST_NAMED])
        more = len(left_out) - MOST_NAMED
        named += f" and {more} more" if more > 0 else ""
        console.print(f"No room for {named}: format=csv has them", soft_wrap=True)


def shown(name: str, text: str) -> str:
    """A cell in several lines where it is long; the name that `run=` takes stays whole."""
    return display_name(text) if name == "run" else folded(display_name(text), SHORT_CELL)


def head_of(name: str) -> str:
    return display_name(name).replace("_", "\n")


def readable(run: Mapping[str, Any]) -> dict[str, str]:
    """A run as text, blank where there is nothing to say."""
    texts = {name: rounded(value) for name, value in run.items() if name not in HIDDEN}
    texts |= {name: f"{run[name]:,}" for name in COUNTS if run[name] is not None}
    fingerprint, commit = ((run[name] or "")[:SHORT] for name in ("data_fingerprint", "commit"))
    texts["data"] = f"{texts['data']} {fingerprint}".strip()
    texts["commit"] = commit + DIRTY_MARK * (bool(commit) and run["dirty"])
    if run["status"] == FINISHED:
        texts["status"] = ""
    if run["sweep"] and run["sweep"] in run["run"]:  # as a trial is named
        texts["sweep"] = ""
    return texts


def rounded(value: Any) -> str:
    """A fraction to four digits, a list of texts without brackets and quotes; anything else as it is."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    text = "" if value is None else str(value)
    return text[2:-2].replace("', '", ", ") if text.startswith("['") else text
