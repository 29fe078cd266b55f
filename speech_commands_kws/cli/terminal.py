"""Standard output: a reader that goes, a disk that is full, a stream that is closed."""

import errno
import logging
import os
import select
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import track

from speech_commands_kws.errors import KwsError, display_name, masked

# Reasons of the machine, not of the program.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
)


class MaskedFormatter(logging.Formatter):
    """Log lines without passwords, whoever writes them."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


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
    return Console(file=stream, markup=False, emoji=False, highlight=False)


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key; the whole key where two would read alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def progress(items: Iterable[Any], total: int | None = None, *, doing: str) -> Iterable[Any]:
    """The items, with a bar on standard error that goes away at the end; standard output is for results."""
    return track(items, doing, total, console=Console(stderr=True), transient=True)
