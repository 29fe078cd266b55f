"""Standard output: a reader that goes, a disk that is full, a stream that is closed."""

import errno
import logging
import os
import select
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.progress import track
from rich.table import Table

from speech_commands_kws.errors import KwsError, display_name, masked

WIDEST = 10_000  # of a terminal, in characters
USUAL_WIDTH = 80
# Reasons of the machine, not of the program.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG),
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what they begin with


class MaskedFormatter(logging.Formatter):
    """Log lines without passwords and escapes, whoever writes them."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


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
    wraps: Collection[str] = (),
    width: int | None = None,
) -> None:
    """Write a table that breaks no name and no number, though a terminal may be too narrow for it.

    Args:
        numbers: heads of the columns that are aligned at the right.
        wraps: heads of the columns that are broken between words where the width demands it.
        width: in characters; that of the terminal if left out.
    """
    table = Table(box=SIMPLE, pad_edge=False, show_header=any(heads))
    for head, *cells in zip(heads, *rows):
        parts = [
            part
            for cell in (head, *cells)
            for part in (cell.split() if head in wraps else cell.splitlines())
        ]
        table.add_column(
            head,
            justify="right" if head in numbers else "left",
            no_wrap=head not in wraps,
            min_width=max(map(cell_len, parts), default=0),
        )
    for row in rows:
        table.add_row(*row)
    console = text_console(stream)
    least = console.measure(table, options=console.options.update(max_width=WIDEST)).minimum
    console.width = max(console.width if width is None else width, least)
    with console.capture() as capture:
        console.print(table)
    # A terminal that is too narrow shows no lines of spaces between the rows.
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def csv_cell(value: Any) -> Any:
    """A value of a CSV file; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    is_formula = isinstance(value, str) and len(value) > 1 and value.startswith(FORMULAS)
    return f"'{value}" if is_formula else value


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key; the whole key where two would read alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def progress(items: Iterable[Any], total: int | None = None, *, doing: str) -> Iterable[Any]:
    """The items, with a bar on standard error that goes away at the end; standard output is for results."""
    return track(items, doing, total, console=Console(stderr=True), transient=True)
