"""The table of runs that a person reads."""

import io

import pandas as pd
import pytest

from speech_commands_kws.tracking.tables import rounded, write_runs

WIDTH = 200

RUN = {
    "place": 1,
    "run": "grid/1",
    "accuracy": 0.912345,
    "optimizer.lr": 1e-5,
    "name": "[red]a",
    "empty": None,
    "multiply_adds": 2_480_000,
    "parameters": None,
    "onnx_latency_ms": 1.25,
    "data": "tones",
    "data_fingerprint": "fedcba9876543210",
    "commit": "0123456789abcdef",
    "dirty": True,
    "sweep": "grid",
    "status": "FINISHED",
    "started": "2026-11-26T16:11:40Z",
    "run_id": "0c6655fe",
}


def shown(*changes: dict, omitted: tuple[str, ...] = ()) -> list[str]:
    stream = io.StringIO()
    runs = pd.DataFrame([RUN | change for change in changes], dtype=object)
    write_runs("a [red]title", runs, omitted, WIDTH, stream)
    return stream.getvalue().splitlines()


def words(line: str) -> list[str]:
    return line.split()


def test_a_row_is_short_and_empty_columns_are_left_out() -> None:
    lines = shown({})
    assert lines[0] == "a [red]title"
    head = {"place", "run", "accuracy", "lr", "name", "multiply", "adds", "latency", "ms", "data"}
    assert set(words(" ".join(lines[1:5]))) == head | {"onnx", "commit"}
    assert words(lines[-2]) == [
        *("1", "grid/1", "0.9123", "1e-05", "[red]a", "2,480,000", "1.25", "tones", "fedcba98"),
        "01234567*",
    ]


def test_what_is_unusual_has_a_column() -> None:
    run = {"run": "other", "dirty": False, "status": "FAILED", "data_fingerprint": None}
    assert words(shown(run)[-2])[-4:] == ["tones", "01234567", "grid", "FAILED"]
    assert words(shown({"data": None, "commit": None})[-2])[-1] == "fedcba98"


def test_omitted_settings_are_named_below() -> None:
    lines = shown({}, omitted=("optimizer.lr", "name"))
    assert lines[-1] == "The runs also differ in optimizer.lr, name: columns=[...] shows them"
    assert "1e-05" not in lines[-3]


def test_of_many_omitted_settings_some_are_named() -> None:
    omitted = tuple(f"augment.setting_{i}" for i in range(60))
    assert shown({}, omitted=omitted)[-1].endswith(
        "setting_7 and 52 more: columns=[...] shows them"
    )


def test_rather_than_cut_words_off_the_table_is_wider_than_a_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    stream.isatty = lambda: True
    write_runs("title", pd.DataFrame([RUN], dtype=object), (), WIDTH, stream)
    (row,) = [line for line in stream.getvalue().splitlines() if "grid/1" in line]
    assert "2,480,000" in row and "01234567*" in row and len(row) < WIDTH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.000123456, "0.0001235"),
        (3.0, "3"),
        (123_456, "123456"),
        ("1.23456", "1.23456"),
        (True, "True"),
    ],
)
def test_numbers_with_a_fraction_are_rounded(value, text: str) -> None:
    assert rounded(value) == text
