"""Standard output: a reader that goes, a disk that is full, a stream that is closed."""

import errno
import logging
import os
import re
import select
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from time import monotonic
from typing import Any, TextIO

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.progress import track
from rich.table import Table

from speech_commands_kws.errors import KwsError, display_name, masked

WIDEST = 10_000  # of a terminal, in characters
GAP = 2  # between the columns of a table, and one before the first
PARTS = re.compile(r"[^\s/]*[\s/]+|[^\s/]+")
USUAL_WIDTH = 80
SECONDS_PER_MINUTE = 60
# Reasons of the machine, not of the program.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG),
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what they begin with


class MaskedFormatter(logging.Formatter):
    """Log lines without passwords and escapes, whoever writes them."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record).expandtabs())


def shown(text: object) -> str:
    """A message without passwords, and with its lines as `display_name` has them: no escape of a file's name, a label
    or a server's answer reaches the terminal."""
    return "\n".join(map(display_name, masked(str(text)).split("\n")))


@contextmanager
def report_io_errors() -> Iterator[None]:
    """Turn an error of the disk into one line; a pipe whose reader, `head` perhaps, has seen enough ends quietly.

    Raises:
        KwsError: the disk is full, or a file may not be written or read.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        reader_is_gone = isinstance(error, BrokenPipeError) and _reader_is_gone()
        if not reader_is_gone and error.errno not in REFUSALS:
            raise
        if error.filename is None and sys.stdout is not None:
            # Python flushes once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if reader_is_gone:
            return
        raise KwsError(
            f"cannot use {_name_of(error)} ({error.strerror}): make room or give access, or choose another place"
        ) from error


def _name_of(error: OSError) -> str:
    # A copy names what it read first.
    name = error.filename2 or error.filename
    return display_name(os.fsdecode(name)) if name else "the disk or standard output"


def _reader_is_gone() -> bool:
    """A failed write leaves nothing behind that flushing would meet."""
    try:
        watched = select.poll()
        watched.register(sys.stdout, 0)
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return False
    return any(event & select.POLLERR for _, event in watched.poll(0))


def require_output() -> None:
    """Raises KwsError where standard output is closed; a name that its encoding lacks must not stop the answers."""
    if sys.stdout is None:
        raise KwsError("expected an open standard output for the answers, it is closed: open it")
    sys.stdout.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """One line on standard error; standard output is for results."""
    print(display_name(line), file=sys.stderr, flush=True)


class LogHandler(logging.StreamHandler):
    """Writes to what `sys.stderr` is at that moment, so that a line stands above a progress bar and not in it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def text_console(stream: TextIO) -> Console:
    """For tables of names that are text, whatever they hold, and never the markup of rich."""
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if console.width < 1:  # as COLUMNS=0 says, which would print nothing
        console.width = USUAL_WIDTH
    return console


def write_rows(
    stream: TextIO,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Collection[str] = (),
    wrapped: str | None = None,
    optional: Sequence[str] = (),
    width: int | None = None,
) -> list[str]:
    """Write a table without its empty columns; no word and no number is broken, however narrow the terminal.

    Args:
        numbers: heads of the columns that are aligned at the right.
        wrapped: head of the column that is broken between words, and behind slashes, where the width demands it.
        optional: heads of the columns that are left out where it demands more, in this order.
        width: in characters; that of the terminal if left out.

    Returns:
        The heads of those that were left out.
    """
    width = text_console(stream).width if width is None else width
    columns = [column for column in zip(heads, *rows) if any(column[1:]) or not rows]
    left_out = []
    for head in optional:
        if total_width(columns) > width and any(column[0] == head for column in columns):
            columns = [column for column in columns if column[0] != head]
            left_out.append(head)
    for i, column in enumerate(columns):
        if column[0] == wrapped and (excess := total_width(columns) - width) > 0:
            room = widest(column) - excess
            columns[i] = (wrapped, *(folded(cell, room) for cell in column[1:]))
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True, show_header=any(heads))
    for head, *_ in columns:
        table.add_column(head, justify="right" if head in numbers else "left", no_wrap=True)
    for row in list(zip(*columns))[1:]:
        table.add_row(*row)
    console = text_console(stream)
    console.width = WIDEST
    with console.capture() as capture:
        console.print(table)
    # A terminal that is too narrow shows no lines of spaces between the rows.
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    return left_out


def total_width(columns: Sequence[Sequence[str]]) -> int:
    return sum(map(widest, columns)) + GAP * len(columns) - 1


def widest(column: Sequence[str]) -> int:
    return max((cell_len(line) for cell in column for line in cell.splitlines()), default=0)


def folded(text: str, width: int) -> str:
    """The text on lines of this width, as far as it breaks between words and behind slashes."""
    lines = [""]
    for part in PARTS.findall(text):
        if lines[-1] and cell_len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def csv_cell(value: Any) -> Any:
    """A value of a CSV file; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    is_formula = isinstance(value, str) and len(value) > 1 and value.startswith(FORMULAS)
    return f"'{value}" if is_formula else value


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key; the whole key where two would read alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def progress(items: Iterable[Any], total: int | None = None, *, doing: str) -> Iterable[Any]:
    """The items, with a bar on standard error that goes away at the end; standard output is for results.

    Where standard error is no terminal, it gets a line after each minute.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        return track(items, doing, total, console=console, transient=True)
    return _with_lines(items, total, doing)


def _with_lines(items: Iterable[Any], total: int | None, doing: str) -> Iterator[Any]:
    if total is None and isinstance(items, Sized):
        total = len(items)
    minutes, begin = 0, monotonic()
    for done, item in enumerate(items):
        if (passed := int((monotonic() - begin) / SECONDS_PER_MINUTE)) > minutes:
            minutes = passed
            say(f"{doing}: {done}{f' of {total}' if total else ''} after {minutes} min")
        yield item
