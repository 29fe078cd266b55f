"""Predictions as text: a table to read, JSON or CSV for programs; written as they come."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import TextIO

from speech_commands_kws.cli.terminal import csv_cell, write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.spotter import Prediction, batched

CSV_COLUMNS = ("file", "start_seconds", "end_seconds", "rank", "label", "probability")
DECIMALS = 6
# Many recordings are shown table after table, so that the first predictions need not wait for the last.
TABLE_ROWS = 40


def write_table(predictions: Iterable[tuple[str, Prediction | None]], stream: TextIO) -> None:
    """One row a prediction; None is a recording without a keyword."""
    heads = ("file", "at", "keyword", "probability", "next")
    left_out: list[str] = []
    for some in batched(predictions, TABLE_ROWS):
        rows = [(display_name(name), *_cells(prediction)) for name, prediction in some]
        numbers, optional = ("at", "probability"), ("next",)
        left_out += write_rows(stream, heads, rows, numbers, wrapped="file", optional=optional)
    if left_out:
        stream.write(
            "The terminal is too narrow for the next keywords of each row: format=csv has them.\n"
        )


def _cells(prediction: Prediction | None) -> tuple[str, str, str, str]:
    if prediction is None:
        return "", "no keyword", "", ""
    following = (
        f"{display_name(keyword.label)} {keyword.probability:.1%}"
        for keyword in prediction.keywords[1:]
    )
    return (
        f"{prediction.start_seconds:.2f} s",
        display_name(prediction.label),
        f"{prediction.probability:.1%}",
        ", ".join(following),
    )


def write_json(predictions: Iterable[tuple[str, Prediction | None]], stream: TextIO) -> None:
    """One list with one object a prediction."""
    separator = "["
    for name, prediction in found(predictions):
        stream.write(f"{separator}\n  {json.dumps(_as_mapping(name, prediction))}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def write_csv(predictions: Iterable[tuple[str, Prediction | None]], stream: TextIO) -> None:
    """One row a prediction and keyword, rank 1 the most probable."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for name, prediction in found(predictions):
        span = _rounded(prediction.start_seconds), _rounded(prediction.end_seconds)
        for rank, keyword in enumerate(prediction.keywords, start=1):
            cells = name, *span, rank, keyword.label, _rounded(keyword.probability)
            writer.writerow(map(csv_cell, cells))


def found(
    predictions: Iterable[tuple[str, Prediction | None]],
) -> Iterator[tuple[str, Prediction]]:
    return ((name, prediction) for name, prediction in predictions if prediction)


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
