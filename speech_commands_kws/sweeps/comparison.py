"""The comparison at the end of a multirun: one table of what each job was given and what it reached."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from speech_commands_kws.cli.terminal import short_names
from speech_commands_kws.sweeps.results import best_of, format_value, has_failed, varied_keys

TABLE_NAME = "comparison.txt"
TABLE_WIDTH = 160  # of the file; the terminal's own width counts on the terminal
WIDEST = 10_000  # of a terminal
FAILED = "failed"
BEST_MARK = "* best"
DIGITS = 4


def show(ranked: list[dict[str, Any]], objectives: Mapping[str, str], sweep_folder: Path) -> None:
    """Print the table and leave it in the sweep's folder."""
    table = comparison_table(ranked, objectives)
    reasons = [
        f"{each['folder'].name} failed: {each['status']}" for each in ranked if has_failed(each)
    ]
    path = sweep_folder / TABLE_NAME
    with path.open("w", encoding="utf-8") as file:
        Console(file=file, width=TABLE_WIDTH).print(table)
        file.writelines(f"{reason}\n" for reason in reasons)
    console = Console()
    for part in [table] if fits(table, console) else comparison_lines(ranked, objectives):
        console.print(part)
    for line in [*reasons, f"The runs lie in {sweep_folder}, this table in {path}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def fits(table: Table, console: Console) -> bool:
    """Whether no cell of it has to be broken."""
    options = console.options.update(max_width=WIDEST)
    return console.measure(table, options=options).maximum <= console.width


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
        status = FAILED if has_failed(result) else result["status"]
        rows.append([mark, *values, *reached, seconds, status, result["folder"].name])
    return ["", *short_names(keys), *objectives, "seconds", "status", "run"], rows


def comparison_table(ranked: list[dict[str, Any]], objectives: Mapping[str, str]) -> Table:
    heads, rows = comparison_rows(ranked, objectives)
    table = Table(title=f"{len(ranked)} jobs compared by {' and '.join(objectives)}")
    for head in heads:
        table.add_column(Text(head), overflow="fold")
    for mark, *cells in rows:
        # As Text, because a value such as [computer,lights] would be read as rich markup.
        table.add_row(*map(Text, [mark, *cells]), style="bold" if mark else None)
    return table


def comparison_lines(ranked: list[dict[str, Any]], objectives: Mapping[str, str]) -> Iterator[Text]:
    """The same for a terminal that is too narrow for a table: a paragraph for each job."""
    (_, *heads, _), rows = comparison_rows(ranked, objectives)
    for mark, *cells, run in rows:
        facts = [f"{head} {cell}" for head, cell in zip(heads, cells, strict=True) if cell]
        yield Text(f"{run} {mark}".strip() + ": " + ", ".join(facts), "bold" if mark else "")


def shorten(value: str) -> str:
    """A number that was sampled, with the digits that matter."""
    try:
        return f"{float(value):.{DIGITS}g}"
    except ValueError:
        return value
