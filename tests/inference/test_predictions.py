"""The three forms of an answer."""

import csv
import io
import json
from functools import partial

import pytest

from speech_commands_kws.inference.predictions import (
    write_csv,
    write_json,
    write_table,
    write_windows,
)
from speech_commands_kws.inference.spotter import Keyword, Prediction

ANSWERS = [
    ("a,\"b\"\n[bold].wav", Prediction(0.0, 1.0, (Keyword("yes", 0.75), Keyword("no", 0.25)))),
    ("long.wav", Prediction(1 / 3, 4 / 3, (Keyword(":smile:", 1.0),))),
]  # fmt: skip


def written(writer, answers: list) -> str:
    stream = io.StringIO()
    writer(iter(answers), stream)
    return stream.getvalue()


def test_json_has_one_object_a_window() -> None:
    assert json.loads(written(write_json, ANSWERS)) == [
        {
            "file": 'a,"b"\n[bold].wav',
            "start_seconds": 0.0,
            "end_seconds": 1.0,
            "label": "yes",
            "probability": 0.75,
            "keywords": [
                {"label": "yes", "probability": 0.75},
                {"label": "no", "probability": 0.25},
            ],
        },
        {
            "file": "long.wav",
            "start_seconds": 0.333333,
            "end_seconds": 1.333333,
            "label": ":smile:",
            "probability": 1.0,
            "keywords": [{"label": ":smile:", "probability": 1.0}],
        },
    ]


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(written(write_json, [])) == []


def test_csv_has_one_row_a_keyword() -> None:
    rows = list(csv.reader(io.StringIO(written(write_csv, ANSWERS))))
    assert rows == [
        ["file", "start_seconds", "end_seconds", "rank", "label", "probability"],
        ['a,"b"\n[bold].wav', "0.0", "1.0", "1", "yes", "0.75"],
        ['a,"b"\n[bold].wav', "0.0", "1.0", "2", "no", "0.25"],
        ["long.wav", "0.333333", "1.333333", "1", ":smile:", "1.0"],
    ]


def test_the_table_shows_names_as_they_are() -> None:
    text = written(write_table, ANSWERS)
    assert r'a,"b"\n[bold].wav' in text
    assert ":smile:" in text
    assert "75.0%" in text and "no 25.0%" in text and "0.33 s" in text


@pytest.mark.parametrize("width", ["0", "40", "80"])
def test_the_table_breaks_no_name_in_a_narrow_terminal(
    width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    name = "my_recording_" + "0123456789" * 12
    text = written(write_table, [(name, ANSWERS[0][1])])
    assert name in text and "…" not in text


def prediction(start: float, label: str, probability: float) -> Prediction:
    return Prediction(start, start + 1, (Keyword(label, probability),))


def test_of_a_long_recording_the_table_has_what_was_heard() -> None:
    long = [("_silence_", 0.9), ("yes", 0.6), ("yes", 0.8), ("no", 0.4), ("yes", 0.7)]
    answers = [
        *(("long.wav", prediction(i / 4, *each)) for i, each in enumerate(long)),
        *(("quiet.wav", prediction(i / 4, "_unknown_", 0.9)) for i in range(3)),
        *(("short.wav", prediction(0.0, "_unknown_", 0.3)) for _ in range(2)),
    ]
    stream = io.StringIO()
    write_table(iter(answers), stream, 0.5, "It finds 62%.")
    rows = [" ".join(line.split()) for line in stream.getvalue().splitlines() if ".wav" in line]
    assert rows == [
        "long.wav 0.50 s yes 80.0%",
        "long.wav 1.00 s yes 70.0%",
        "quiet.wav no keyword",
        "short.wav 0.00 s _unknown_ 30.0%",
        "short.wav 0.00 s _unknown_ 30.0%",
    ]
    assert "keywords above 50.0% are listed" in stream.getvalue()
    assert stream.getvalue().endswith("every window. It finds 62%.\n")
    assert "are listed" not in written(partial(write_table, threshold=0.5), answers[-2:])


def test_a_long_recording_is_shown_as_it_is_heard() -> None:
    """The first table is written before the answers end."""
    stream = io.StringIO()
    seen = []

    def answers():
        for i in range(100):
            seen.append(len(stream.getvalue()))
            yield "long.wav", Prediction(float(i), i + 1.0, (Keyword("yes", 1.0),))

    write_windows(answers(), stream)
    assert seen[0] == 0 and seen[-1] > 0
    assert stream.getvalue().count("long.wav") == 100
