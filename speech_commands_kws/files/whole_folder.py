"""Generated folders that are complete or absent, even if interrupted or made by several processes at once."""

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from speech_commands_kws.errors import KwsError

# A part this old was left by a process that was killed.
STALE_SECONDS = 3600


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into an empty folder beside `folder`, then rename it to `folder`.

    Where another process was faster, its folder stays and ours is dropped.
    """
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise KwsError(
            f"cannot write into {folder.parent} ({error.strerror}): "
            "make it writable or choose another folder"
        ) from error
    try:
        fill(part)
        rename_unless_there(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        remove_stale_parts(folder)


def rename_unless_there(part: Path, folder: Path) -> None:
    """Rename in one step; an existing folder is kept."""
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def remove_stale_parts(folder: Path) -> None:
    """Remove leftovers of killed processes."""
    for part in folder.parent.glob(f".{folder.name}.*"):
        if part.is_dir() and time.time() - part.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(part, ignore_errors=True)
