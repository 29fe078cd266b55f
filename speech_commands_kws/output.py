"""Standard output and the disk refuse to be written to: a reader that has gone is no error, the others are one line."""

import errno
import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speech_commands_kws.audio import display_name
from speech_commands_kws.errors import KwsError

# Reasons of the machine, not of the program.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
)


@contextmanager
def refusals_reported() -> Iterator[None]:
    """What cannot be written ends with one line; a pipe whose reader, `head` perhaps, has seen enough ends quietly.

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


@contextmanager
def written_to(name: Path | str) -> Iterator[None]:
    """Raises KwsError, with the reason, where the file system does not take a file that the user has named."""
    try:
        yield
    except OSError as error:
        raise KwsError(
            f"cannot write {display_name(str(name))} ({error.strerror}): choose another place"
        ) from error


@contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when all went well; its folder is made.

    Raises:
        KwsError: the file system does not take the file, which the message calls `name`.
    """
    if not path.name:
        raise KwsError(f"cannot write {name or path}, which names no file: give the name of one")
    partial = path.with_name(f".{path.name}.partial")
    with written_to(name or path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    try:
        yield partial
        with written_to(name or path):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str, name: str | None = None) -> None:
    """Write a file that is there as a whole or, where the disk is full, as it was; see `replacing`."""
    with replacing(path, name) as partial, written_to(name or path):
        partial.write_text(text)


def write_json_file(json_file: str | None, facts: dict[str, Any]) -> None:
    """Write facts to the file that the setting `json_file` names, if it names one."""
    if json_file is not None:
        path = Path(str(json_file)).expanduser()
        write_whole(path, json.dumps(facts, indent=2) + "\n", f"json_file={path}")


def require_output() -> None:
    """Raises KwsError where standard output is closed; a name that its encoding lacks must not stop the answers."""
    if sys.stdout is None:
        raise KwsError("expected an open standard output for the answers, it is closed: open it")
    sys.stdout.reconfigure(errors="backslashreplace")
