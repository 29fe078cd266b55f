"""Downloads of large files that resume after an interruption and are verified before use."""

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from speech_commands_kws.errors import KwsError

BLOCK = 2**20
SCHEMES = ("http", "https")
TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file on a web server; `size` (bytes) and `sha256` are None where nobody has published them."""

    url: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Patience:
    """With a server that fails.

    Args:
        attempts: so many in a row that bring nothing new end the download.
        backoff_seconds: pause after the first of them; each further pause is twice as long.
        timeout_seconds: without a byte, after which a connection counts as lost.
    """

    attempts: int
    backoff_seconds: float
    timeout_seconds: float


def download_file(remote: RemoteFile, path: Path, patience: Patience) -> None:
    """Download to `path`, which is there as a whole or not at all.

    What an interruption leaves lies beside it as `.<name>.part`, and the next download goes on with it. A file that was
    put together from such a part and is not the published one is downloaded once more, as a whole.

    Raises:
        KwsError: the server has no such file, another one, or gives up; or the disk refuses.
    """
    if not is_address(remote.url):
        raise KwsError(
            f"expected an address that begins with http:// or https:// and a host, got {remote.url}: "
            "set another address"
        )
    part = part_of(path)
    while True:
        goes_on = length_of(part) > 0
        with progress_bar(path.name, remote.size) as show:
            Download(remote, part, patience, show).run()
        fault = file_fault(part, remote)
        if fault is None:
            break
        part.unlink()
        tag_file(part).unlink(missing_ok=True)
        if not goes_on:
            raise KwsError(
                f"{remote.url} is not the published file: {fault}; ask its owner, or set another address"
            )
        LOG.warning(
            "%s, put together from parts, is wrong (%s): once more from the start", path, fault
        )
    part.replace(path)
    tag_file(part).unlink(missing_ok=True)


def is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.hostname) and url.isprintable() and " " not in url


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


@dataclass
class Download:
    """One file on its way.

    Args:
        part: what has come so far.
        show: is told the bytes there are, and the bytes there will be (None: the server does not say).
    """

    remote: RemoteFile
    part: Path
    patience: Patience
    show: Callable[[int, int | None], None]

    def run(self) -> None:
        failures, furthest = 0, length_of(self.part)
        while True:
            try:
                return self.receive()
            except (OSError, http.client.HTTPException) as error:
                self.refuse_final(error)
                failures = 1 if length_of(self.part) > furthest else failures + 1
                furthest = max(furthest, length_of(self.part))
                reason = str(getattr(error, "reason", "") or error) or type(error).__name__
                if failures >= self.patience.attempts:
                    raise KwsError(
                        f"{self.remote.url} could not be downloaded ({reason}; {failures} attempts, {furthest} bytes "
                        "are kept): run it again to go on, or set another address"
                    ) from None
            pause = self.patience.backoff_seconds * 2 ** (failures - 1)
            LOG.info("%s: %s; goes on in %.1f s", self.part.name, reason, pause)
            time.sleep(pause)

    def refuse_final(self, error: Exception) -> None:
        """Raises KwsError for a response that a retry would not change."""
        if not isinstance(error, urllib.error.HTTPError):
            return
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in TRANSIENT_STATUSES:
            raise KwsError(
                f"{self.remote.url} is not to be had (HTTP {error.code} {error.reason}): set another address"
            ) from None

    def receive(self) -> None:
        """Receive what is missing.

        Raises:
            OSError, HTTPException: the connection was lost; the part has grown by what came before.
        """
        have = length_of(self.part)
        if have and have == self.remote.size:
            return
        try:
            response = self.open(have)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # all of it was there, only its length was not known
            self.part.unlink()
            raise ConnectionError("what was there is no beginning of the file") from None
        with response:
            start = have if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            total = self.total(response, start)
            self.keep(response, start, total)
        total = total or self.remote.size
        if total is not None and length_of(self.part) < total:
            raise ConnectionError(f"connection lost after {length_of(self.part)} of {total} bytes")

    def open(self, have: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": "speech-commands-kws"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if have and tag_file(self.part).is_file():
            # The server sends all of a file that has changed meanwhile.
            headers["If-Range"] = tag_file(self.part).read_text()
        request = urllib.request.Request(self.remote.url, headers=headers)
        return urllib.request.urlopen(request, timeout=self.patience.timeout_seconds)

    def total(self, response: http.client.HTTPResponse, start: int) -> int | None:
        """Bytes of the whole file by the server's word, which is no other than that of the publisher."""
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            stretch, _, last = response.headers.get("Content-Range", "").partition("/")
            if not stretch.startswith(f"bytes {start}-"):
                self.part.unlink()
                raise ConnectionError(f"asked for byte {start} and following, got {stretch!r}")
        else:
            last = response.headers.get("Content-Length", "")
        total = int(last) if last.isdigit() else None
        if None not in (total, self.remote.size) and total != self.remote.size:
            raise KwsError(
                f"{self.remote.url} is not the published file: expected {self.remote.size} bytes, it has {total}; "
                "ask its owner, or set another address"
            )
        return total

    def keep(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        if start == 0:
            tag = response.headers.get("ETag", "")
            tag_file(self.part).unlink(missing_ok=True)
            if tag and not tag.startswith("W/"):  # weak tags do not hold for bytes
                tag_file(self.part).write_text(tag)
        have = start
        with self.part.open("ab" if start else "wb") as stream:
            self.show(have, total)
            while block := response.read1(BLOCK):
                append(stream, block)
                have += len(block)
                self.show(have, total)


def append(stream, block: bytes) -> None:
    """A write error must not look like a lost connection."""
    try:
        stream.write(block)
        stream.flush()
    except OSError as error:
        raise KwsError(
            f"cannot write {stream.name} ({error.strerror}): make room, or set paths.data to a folder elsewhere"
        ) from None


def length_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def part_of(path: Path) -> Path:
    """Path of the partial download of a file."""
    return path.with_name(f".{path.name}.part")


def tag_file(part: Path) -> Path:
    """Path of the ETag that belongs to a partial download."""
    return part.with_name(f"{part.name}.etag")


@contextmanager
def progress_bar(name: str, size: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on the terminal; its function takes the bytes there are, and the bytes there will be."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"downloading {name}", total=size)
        yield lambda have, total: bar.update(task, completed=have, total=total or size)
