"""Predictions as text: a table to read, JSON or CSV for programs; written as they come."""

import csv
import json
from collections.abc import Iterable
from typing import TextIO

from rich.box import SIMPLE
from rich.table import Table

from speech_commands_kws.cli.terminal import text_console
from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.spotter import Prediction, batched

CSV_COLUMNS = ("file", "start_seconds", "end_seconds", "rank", "label", "probability")
DECIMALS = 6
# A long recording is shown table after table, so that the first predictions need not wait for the last.
TABLE_ROWS = 40


def write_table(predictions: Iterable[tuple[str, Prediction]], stream: TextIO) -> None:
    console = text_console(stream)
    for rows in batched(predictions, TABLE_ROWS):
        table = Table("file", box=SIMPLE)
        table.columns[0].overflow = "fold"
        table.add_column("at", justify="right", no_wrap=True)
        table.add_column("keyword", overflow="fold")
        table.add_column("probability", justify="right", no_wrap=True)
        table.add_column("next", overflow="fold")
        for name, prediction in rows:
            table.add_row(
                display_name(name),
                f"{prediction.start_seconds:.2f} s",
                display_name(prediction.label),
                f"{prediction.probability:.1%}",
                ", ".join(
                    f"{display_name(keyword.label)} {keyword.probability:.1%}"
                    for keyword in prediction.keywords[1:]
                ),
            )
        console.print(table)


def write_json(predictions: Iterable[tuple[str, Prediction]], stream: TextIO) -> None:
    """One list with one object a window."""
    separator = "["
    for name, prediction in predictions:
        stream.write(f"{separator}\n  {json.dumps(_as_mapping(name, prediction))}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def write_csv(predictions: Iterable[tuple[str, Prediction]], stream: TextIO) -> None:
    """One row a window and keyword, rank 1 the most probable."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for name, prediction in predictions:
        span = _rounded(prediction.start_seconds), _rounded(prediction.end_seconds)
        for rank, keyword in enumerate(prediction.keywords, start=1):
            writer.writerow((name, *span, rank, keyword.label, _rounded(keyword.probability)))


def _as_mapping(name: str, prediction: Prediction) -> dict:
    return {
        "file": name,
        "start_seconds": _rounded(prediction.start_seconds),
        "end_seconds": _rounded(prediction.end_seconds),
        "label": prediction.label,
        "probability": _rounded(prediction.probability),
        "keywords": [
            {"label": keyword.label, "probability": _rounded(keyword.probability)}
            for keyword in prediction.keywords
        ],
    }


def _rounded(value: float) -> float:
    return round(value, DECIMALS)
