"""The last time in a log."""

from datetime import datetime
from pathlib import Path

from speech_commands_kws.files.log_time import last_time


def test_the_last_line_with_a_time_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_time(log) is None
    log.write_text("2026-02-03 04:05:06,007 INFO first\n2026-02-03 04:05:07,008 INFO a\nand more\n")
    assert last_time(log) == datetime(2026, 2, 3, 4, 5, 7).timestamp()
    log.write_text("nothing\n")
    assert last_time(log) is None
