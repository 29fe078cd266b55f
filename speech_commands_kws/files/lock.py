"""One process at a time, by a lock that the kernel drops when its holder ends, in whatever way."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speech_commands_kws.files.atomic import written_to

LOG = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, task: str) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, wait and say so with the name of the task.

    The file stays: were it removed, two processes could hold locks on different files of one name.

    Raises:
        KwsError: the file system does not take it.
    """
    with written_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.warning("another process is %s: waiting for it", task)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
