import csv
import io
import json
from pathlib import Path

import pytest

from speech_commands_kws.data.quality import SAME, SILENT, Clip, Finding, Report
from speech_commands_kws.data.quality_report import write_csv, write_json, write_table


@pytest.fixture
def report() -> Report:
    paths, words = ["no/a.wav", "no/b.wav", "yes/a.wav"], ["no", "no", "yes"]
    clips = [
        Clip(path, word, path[-5], "train", -20.0, 1.0, 0, 0.0, path.encode())
        for path, word in zip(paths, words)
    ]
    findings = [
        Finding(SAME, "no/b.wav", "no", "train", "as no/a.wav (train)"),
        *(Finding(SILENT, path, path[:2], "train", "") for path in paths),
    ]
    return Report(clips, findings)


def test_a_table_has_the_words_and_some_findings_of_each_kind(report):
    stream = io.StringIO()
    write_table("[b]mine", Path("here"), report, 2, stream)
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert lines[0] == "[b]mine, in here"
    assert lines[1].startswith("3 clips by 2 speakers, 2 words; level -20 dBFS")
    assert "no 2 0 0 2" in lines and "yes 1 0 0 1" in lines
    assert any(line.startswith("silent 3 no/a.wav; no/b.wav") for line in lines)


def test_programs_get_every_finding(report):
    stream = io.StringIO()
    write_csv(report, stream)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [row["kind"] for row in rows] == ["duplicate", "silent", "silent", "silent"]
    stream = io.StringIO()
    write_json("mine", Path("here"), "abc", report, stream)
    facts = json.loads(stream.getvalue())
    assert facts["counts"] == {"duplicate": 1, "silent": 3} and facts["fingerprint"] == "abc"
    assert facts["words"]["no"] == {"train": 2, "validation": 0, "test": 0, "speakers": 2}
