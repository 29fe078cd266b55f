"""Downloads of large files that resume after an interruption and are verified before use."""

import hashlib
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.files.atomic import written_to

BLOCK = 2**20
SCHEMES = ("http://", "https://")
TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file on a web server; `size` (bytes) and `sha256` are None where nobody has published them."""

    url: str
    size: int | None
    sha256: str | None


def download_file(
    remote: RemoteFile, path: Path, attempts: int, backoff_seconds: float, timeout_seconds: float
) -> None:
    """Download to `path`, which is there as a whole or not at all.

    What an interruption leaves lies beside it as `.<name>.part`, and the next download goes on with it; where no
    SHA-256 could tell a wrong beginning, it starts again. No library that this project depends on resumes a download.

    Args:
        attempts: so many in a row that bring nothing new end the download.
        backoff_seconds: pause after the first of them; each further pause is twice as long.
        timeout_seconds: without a byte, after which a connection counts as lost.

    Raises:
        KwsError: the server has no such file, another one, or gives up; or the disk refuses.
    """
    if not remote.url.startswith(SCHEMES):
        raise KwsError(
            f"expected an address that begins with http:// or https://, got {remote.url}: set another address"
        )
    part = part_of(path)
    if remote.sha256 is None:
        part.unlink(missing_ok=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        show = partial(bar.update, bar.add_task(f"downloading {path.name}", total=remote.size))
        failures = 0
        while True:
            had = length_of(part)
            try:
                receive(remote, part, timeout_seconds, show)
                break
            except (OSError, HTTPException) as error:
                have, reason = length_of(part), summarize_error(error)
                failures = 1 if have > had else failures + 1
                if is_final(error) or failures >= attempts:
                    raise KwsError(
                        f"{remote.url} could not be downloaded ({reason}; {failures} attempts, {have} bytes are "
                        "kept): run it again to go on, or set another address"
                    ) from None
            pause = backoff_seconds * 2 ** (failures - 1)
            LOG.info("%s: %s; goes on in %.1f s", part.name, reason, pause)
            time.sleep(pause)
    fault = file_fault(part, remote)
    if fault:
        part.unlink()
        raise KwsError(
            f"{remote.url} is not the published file: {fault}; what came was removed: run it again, or set another "
            "address"
        )
    part.replace(path)


def receive(
    remote: RemoteFile, part: Path, timeout_seconds: float, show: Callable[..., None]
) -> None:
    """Receive what is missing of a part.

    Args:
        show: is told the bytes there are (`completed`), and where the server says so those there will be (`total`).

    Raises:
        OSError, HTTPException: the connection was lost; the part has grown by what came before.
    """
    have = length_of(part)
    if remote.size is not None and have >= remote.size:
        return
    headers = {"User-Agent": "speech-commands-kws", "Range": f"bytes={have}-"}
    request = urllib.request.Request(remote.url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            have = 0
        total = None if response.length is None else have + response.length
        with part.open("ab" if have else "wb", buffering=0) as stream:
            while block := response.read1(BLOCK):
                with written_to(part):  # a full disk is no lost connection
                    stream.write(block)
                have += len(block)
                show(completed=have, total=total)
    if total is not None and have < total:
        raise ConnectionError(f"connection lost after {have} of {total} bytes")


def is_final(error: Exception) -> bool:
    """Whether a retry would not change the response."""
    if not isinstance(error, urllib.error.HTTPError):
        return False
    return error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in TRANSIENT_STATUSES


def file_fault(path: Path, remote: RemoteFile) -> str | None:
    """The fault of a downloaded file, if any."""
    if remote.size is not None and length_of(path) != remote.size:
        return f"expected {remote.size} bytes, got {length_of(path)}"
    if remote.sha256 is None:
        LOG.warning("%s is not checked: nobody has published its SHA-256", path.name)
        return None
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if found == remote.sha256 else f"expected SHA-256 {remote.sha256}, got {found}"


def length_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def part_of(path: Path) -> Path:
    """Path of the partial download of a file."""
    return path.with_name(f".{path.name}.part")
