"""Predictions as text: a table to read, JSON or CSV for programs; written as they come."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from typing import TextIO

from speech_commands_kws.cli.terminal import csv_cell, write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.spotter import Prediction, batched
from speech_commands_kws.labels import SILENCE, UNKNOWN

CSV_COLUMNS = ("file", "start_seconds", "end_seconds", "rank", "label", "probability")
DECIMALS = 6
# Many recordings are shown table after table, so that the first predictions need not wait for the last.
TABLE_ROWS = 40


def write_table(
    predictions: Iterable[tuple[str, Prediction]],
    stream: TextIO,
    threshold: float = 0.0,
    note: str = "",
) -> None:
    """The prediction for each short recording, and of a long one what was heard in it.

    Args:
        threshold: the probability above which a keyword in a long recording counts.
        note: what is to be said about it.
    """
    is_long = False

    def noticed() -> Iterator[tuple[str, Prediction]]:
        nonlocal is_long
        for item in predictions:
            is_long = is_long or item[1].start_seconds > 0
            yield item

    write_windows(heard(noticed(), threshold), stream)
    if is_long and threshold:
        stream.write(
            f"In long recordings keywords above {threshold:.1%} are listed, the model's threshold; format=windows "
            f"lists every window. {note}".rstrip() + "\n"
        )


def heard(
    predictions: Iterable[tuple[str, Prediction]], threshold: float
) -> Iterator[tuple[str, Prediction | None]]:
    """Of consecutive windows with the same keyword the most probable; None for a long recording without any."""
    number = 0

    def recording(item: tuple[str, Prediction]) -> tuple[int, str]:
        nonlocal number
        number += item[1].start_seconds == 0
        return number, item[0]

    def keyword(item: tuple[str, Prediction]) -> str | None:
        label, probability = item[1].label, item[1].probability
        return label if label not in (UNKNOWN, SILENCE) and probability > threshold else None

    for (_, name), windows in groupby(predictions, recording):
        begin = list(islice(windows, 2))
        if len(begin) == 1:
            yield from begin
            continue
        is_empty = True
        for label, same in groupby(chain(begin, windows), keyword):
            if label is not None:
                is_empty = False
                yield max(same, key=lambda item: item[1].probability)
        if is_empty:
            yield name, None


def write_windows(predictions: Iterable[tuple[str, Prediction | None]], stream: TextIO) -> None:
    """One row a window."""
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
            cells = name, *span, rank, keyword.label, _rounded(keyword.probability)
            writer.writerow(map(csv_cell, cells))


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
