"""What the machine refuses is one line; bars and tables leave names as they are."""

import errno
import io
import logging
import sys
from pathlib import Path

import pytest

from speech_commands_kws.cli import terminal
from speech_commands_kws.cli.terminal import (
    MaskedFormatter,
    csv_cell,
    folded,
    progress,
    report_io_errors,
    require_output,
    short_names,
    text_console,
    write_rows,
)
from speech_commands_kws.errors import KwsError


def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(KwsError, match="cannot use clips.bin .No space left on device.: make room"):
        with report_io_errors():
            raise OSError(errno.ENOSPC, "No space left on device", "clips.bin")


def test_a_copy_names_what_it_could_not_write() -> None:
    with pytest.raises(KwsError, match="cannot use written "):
        with report_io_errors():
            raise OSError(errno.EACCES, "Permission denied", "read", None, "written")


def test_a_bug_stays_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), report_io_errors():
        (tmp_path / "missing").read_text()


def test_a_closed_standard_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(KwsError, match="expected an open standard output"):
        require_output()


def test_names_are_no_markup_and_items_pass_through() -> None:
    stream = io.StringIO()
    text_console(stream).print("[red]:smile:[/red]")
    assert stream.getvalue() == "[red]:smile:[/red]\n"
    assert list(progress([1, 2], doing="counting")) == [1, 2]


def test_progress_without_a_terminal_is_a_line_a_minute(monkeypatch, capsys) -> None:
    times = iter([0, 10, 61, 90, 300, 301])
    monkeypatch.setattr(terminal, "monotonic", lambda: next(times))
    assert list(progress(range(5), doing="listening")) == list(range(5))
    assert capsys.readouterr().err.splitlines() == [
        "listening: 1 of 5 after 1 min",
        "listening: 3 of 5 after 5 min",
    ]
    times = iter([0, 10, 61])
    assert list(progress(iter("ab"), doing="listening")) == ["a", "b"]
    assert capsys.readouterr().err == "listening: 1 after 1 min\n"


def test_no_escape_reaches_the_terminal_by_a_message() -> None:
    said = "\x1b[2J\x1b]0;owned\x07.wav: r\u0435fused\nsecond line, {}"
    record = logging.LogRecord("kws", logging.INFO, "", 0, said, None, None)
    line = MaskedFormatter("%(message)s").format(record)
    assert line == "\\x1b[2J\\x1b]0;owned\\x07.wav: r\u0435fused\nsecond line, {}"
    record = logging.LogRecord("a", logging.INFO, "", 0, "\t#1 : lr=0.1", (), None)
    assert MaskedFormatter("INFO %(message)s").format(record) == "INFO    #1 : lr=0.1"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_is_no_formula_of_a_spreadsheet(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_other_cells_stay() -> None:
    for value in ("yes", "-", "a=b", "", -0.5, 3, None):
        assert csv_cell(value) is value


def test_names_are_short_where_they_differ_then() -> None:
    keys = ["optimizer.lr", "backbone.name", "data.name", "seed"]
    assert short_names(keys) == ["lr", "backbone.name", "data.name", "seed"]


@pytest.mark.parametrize("width", ["0", "20", "200"])
def test_a_table_breaks_only_what_may_be_broken(
    width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    stream = io.StringIO()
    rows = [("a name of [b]one[/b]", "1", "text of several words"), ("b", "1,000", "")]
    assert not write_rows(stream, ("name", "count", "text"), rows, ("count",), wrapped="text")
    lines = stream.getvalue().splitlines()
    assert all(line == line.rstrip() for line in lines)
    row = next(line for line in lines if "[b]" in line)
    assert "a name of [b]one[/b]      1  text" in row
    assert ("text of several words" in row) == (width != "20")


def test_a_table_leaves_out_what_is_empty_and_what_has_no_room() -> None:
    stream, heads = io.StringIO(), ("file", "none", "keyword", "next", "other")
    rows = [("a/folder/with/a/file.wav", "", "yes", "no 12.0%", "up 1.0%"), ("b", "", "no", "", "")]
    left_out = write_rows(stream, heads, rows, optional=("other", "next"), wrapped="file", width=46)
    assert left_out == ["other"]
    lines = [line for line in stream.getvalue().splitlines() if line]
    assert lines[0] == " file                      keyword  next"
    stream = io.StringIO()
    assert write_rows(stream, heads, rows, optional=("other", "next"), wrapped="file", width=28)
    lines = [line for line in stream.getvalue().splitlines() if line]
    assert lines[2:4] == [" a/folder/with/a/  yes", " file.wav"] and max(map(len, lines)) <= 28


def test_a_text_is_folded_between_words_and_behind_slashes() -> None:
    assert folded("plots/runs/a_long_name/model.onnx and more", 13) == (
        "plots/runs/\na_long_name/\nmodel.onnx\nand more"
    )
