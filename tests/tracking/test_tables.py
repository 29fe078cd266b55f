"""The table of runs that a person reads."""

import io

import pandas as pd
import pytest

from speech_commands_kws.tracking.tables import rounded, write_runs

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


def shown(*changes: dict, width: int = 200) -> list[str]:
    stream = io.StringIO()
    runs = pd.DataFrame([RUN | change for change in changes], dtype=object)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        write_runs("a [red]title", runs, stream)
    return stream.getvalue().splitlines()


def words(line: str) -> list[str]:
    return line.split()


def test_a_row_is_short_and_empty_columns_are_left_out() -> None:
    lines = shown({})
    assert lines[0] == "a [red]title"
    head = {"place", "run", "accuracy", "lr", "name", "multiply", "adds", "latency", "ms", "data"}
    assert set(words(" ".join(lines[1:5]))) == head | {"onnx", "commit"}
    assert words(lines[-4]) == [
        *("1", "grid/1", "0.9123", "1e-05", "[red]a", "2,480,000", "1.25", "tones", "01234567*"),
    ]
    assert words(lines[-3]) == ["fedcba98"]
    assert lines[-1] == "* with changes that were not committed"


def test_what_is_unusual_has_a_column() -> None:
    run = {"run": "other", "dirty": False, "status": "FAILED", "data_fingerprint": None}
    assert words(shown(run)[-2])[-4:] == ["tones", "01234567", "grid", "FAILED"]
    assert words(shown({"data": None, "commit": None})[-2])[-1] == "fedcba98"


def test_what_has_no_room_is_named_below() -> None:
    lines = shown({}, width=53)
    assert max(map(len, lines[:-1])) <= 53
    assert lines[-1] == "No room for onnx_latency_ms, data, commit: format=csv has them"
    assert words(lines[-3])[-1] == "2,480,000"
    assert "01234567*" not in " ".join(lines) and "not committed" not in " ".join(lines)


def test_of_many_settings_without_room_some_are_named() -> None:
    more = {f"augment.setting_{i}": f"{i}.123456" for i in range(60)}
    assert " and " in shown(RUN | more, width=60)[-1]
    assert shown(more, width=60)[-1].endswith("setting_5 and 54 more: format=csv has them")


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
