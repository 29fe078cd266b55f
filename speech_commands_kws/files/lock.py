"""One process at a time, by a lock that the system releases when its holder ends, even if killed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from speech_commands_kws.files.atomic import written_to

LOG = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, task: str) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, wait and say so with the name of the task.

    Raises:
        KwsError: the file system does not take it.
    """
    lock = FileLock(path)
    with written_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            LOG.warning("another process is %s: waiting for it", task)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
