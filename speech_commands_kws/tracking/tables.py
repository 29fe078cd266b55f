"""The runs of an experiment as a table for a person to read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from rich.box import SIMPLE
from rich.table import Table

from speech_commands_kws.cli.terminal import short_names, text_console
from speech_commands_kws.errors import display_name
from speech_commands_kws.tracking.experiments import COUNTS

if TYPE_CHECKING:
    from pandas import DataFrame

SHORT = 8  # characters of a fingerprint or a commit
SHORT_CELL = 12
MOST_OMITTED = 8  # settings named below the table
FINISHED = "FINISHED"
DIRTY_MARK = "*"
# What stands in another column, or is for programs.
HIDDEN = ("data_fingerprint", "dirty", "started", "run_id")


def write_runs(
    title: str, runs: "DataFrame", omitted: Sequence[str], file_width: int, stream: TextIO
) -> None:
    """Write what `experiments.summarize` returns, without the columns that are omitted or empty.

    Args:
        file_width: characters of a line where the stream is no terminal.
    """
    rows = [readable(run) for run in runs.to_dict("records")]
    names = [name for name in rows[0] if name not in omitted and any(row[name] for row in rows)]
    table = Table(box=SIMPLE, pad_edge=False)
    for name, head in zip(names, short_names(names)):
        # In one piece: what is short, and the name that `run=` takes.
        whole = name == "run" or max(len(row[name]) for row in rows) <= SHORT_CELL
        table.add_column(display_name(head).replace("_", "\n"), overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(display_name(row[name]) for name in names))
    console = text_console(stream)
    width = console.width if stream.isatty() else file_width
    # Rather than cut words off it is wider than a narrow terminal.
    least = console.measure(table, options=console.options.update(max_width=file_width)).minimum
    console.width = max(width, least)
    console.print(display_name(title), soft_wrap=True)
    console.print(table)
    if omitted:
        names = ", ".join(omitted[:MOST_OMITTED])
        if len(omitted) > MOST_OMITTED:
            names += f" and {len(omitted) - MOST_OMITTED} more"
        console.print(f"The runs also differ in {names}: columns=[...] shows them", soft_wrap=True)


def readable(run: Mapping[str, Any]) -> dict[str, str]:
    """A run as text, blank where there is nothing to say."""
    texts = {name: rounded(value) for name, value in run.items() if name not in HIDDEN}
    texts |= {name: f"{run[name]:,}" for name in COUNTS if run[name] is not None}
    fingerprint, commit = ((run[name] or "")[:SHORT] for name in ("data_fingerprint", "commit"))
    texts["data"] = f"{texts['data']} {fingerprint}".strip()
    texts["commit"] = commit + DIRTY_MARK * (bool(commit) and run["dirty"])
    if run["status"] == FINISHED:
        texts["status"] = ""
    if run["run"].startswith(f"{run['sweep']}/"):  # as a trial is named
        texts["sweep"] = ""
    return texts


def rounded(value: Any) -> str:
    """A fraction to four digits; anything else as it is."""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return "" if value is None else str(value)
