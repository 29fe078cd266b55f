"""The three forms of an answer."""

import csv
import io
import json

import pytest

from speech_commands_kws.inference.predictions import write_csv, write_json, write_table
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


def test_a_recording_without_keywords_is_a_row_of_the_table_alone() -> None:
    answers = [("quiet.wav", None)]
    assert " ".join(written(write_table, answers).split()).endswith("quiet.wav no keyword")
    assert json.loads(written(write_json, answers)) == []
    assert len(written(write_csv, answers).splitlines()) == 1


def test_a_long_recording_is_shown_as_it_is_heard() -> None:
    """The first table is written before the answers end."""
    stream = io.StringIO()
    seen = []

    def answers():
        for i in range(100):
            seen.append(len(stream.getvalue()))
            yield "long.wav", Prediction(float(i), i + 1.0, (Keyword("yes", 1.0),))

    write_table(answers(), stream)
    assert seen[0] == 0 and seen[-1] > 0
    assert stream.getvalue().count("long.wav") == 100
