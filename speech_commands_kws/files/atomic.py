"""Standard output and the disk refuse to be written to: a reader that has gone is no error, the others are one line."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

from speech_commands_kws.errors import KwsError, display_name


@contextmanager
def written_to(name: Path | str) -> Iterator[None]:
    """Raises KwsError, with the reason, where the file system does not take a file that the user has named."""
    try:
        yield
    except OSError as error:
        raise KwsError(
            f"cannot write {display_name(str(name))} ({error.strerror}): choose another place"
        ) from error


def make_writable(folder: Path) -> None:
    """Make a folder and try to write to it, before the long work whose result it shall take.

    Raises:
        KwsError: it takes no file.
    """
    with written_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


@contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when all went well; its folder is made.

    Its name is unique, so that of two writers the later one replaces what the earlier one wrote as a whole.

    Raises:
        KwsError: the file system does not take the file, which the message calls `name`.
    """
    if not path.name:
        raise KwsError(f"cannot write {name or path}, which names no file: give the name of one")
    partial = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    with written_to(name or path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    try:
        yield partial
        with written_to(name or path):
            flush_to_disk(partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Without it a power cut after the rename could leave an empty file under the final name."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_whole(path: Path, text: str, name: str | None = None) -> None:
    """Write a file that is there as a whole or, where the disk is full, as it was; see `replacing`."""
    with replacing(path, name) as partial, written_to(name or path):
        partial.write_text(text, encoding="utf-8")


def write_json_file(json_file: str | None, facts: dict[str, Any]) -> None:
    """Write facts to the file that the setting `json_file` names, if it names one."""
    if json_file is not None:
        path = Path(str(json_file)).expanduser()
        write_whole(path, json.dumps(facts, indent=2) + "\n", f"json_file={path}")
