"""Downloads from a real server that fails in the ways of the internet."""

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from web_server import Site, served

from speech_commands_kws.data.fetch import http_file
from speech_commands_kws.data.fetch.http_file import RemoteFile, download_file
from speech_commands_kws.errors import KwsError

CONTENT = random.Random(0).randbytes(300_000)
NAME = "clips.tar.gz"
PATIENCE = {"attempts": 3, "backoff_seconds": 0.01, "timeout_seconds": 0.5}


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """A server of `CONTENT` or another content, with the faults that are named."""
    with ExitStack() as stack:
        yield lambda content=CONTENT, **faults: stack.enter_context(
            served(Site({NAME: content}, **faults))
        )


def remote_of(site: Site, size: int | None = len(CONTENT), sha256: str | None = "") -> RemoteFile:
    known = hashlib.sha256(CONTENT).hexdigest() if sha256 == "" else sha256
    return RemoteFile(f"{site.address}/{NAME}", size, known)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve()
    download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert leftovers(tmp_path) == [NAME]
    assert site.requests == [(f"/{NAME}", "bytes=0-")]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_lost_connection_goes_on_where_it_was(
    serve: Callable[..., Site], tmp_path: Path, size: int | None
) -> None:
    site = serve(drop_after=100_000, drops=2)
    download_file(remote_of(site, size), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == ["bytes=0-", "bytes=100000-", "bytes=200000-"]


def test_progress_starts_the_attempts_anew(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(drop_after=50_000, drops=5)
    download_file(remote_of(site), tmp_path / NAME, 2, 0.01, 0.5)
    assert len(site.requests) == 6


def test_a_server_without_ranges_sends_all_of_it_again(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    site = serve(drop_after=100_000, drops=2, ranges=False)
    download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_connection_that_only_drops_ends_and_is_gone_on_with(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    site = serve(drop_after=0, drops=100)
    with pytest.raises(KwsError, match="3 attempts, 0 bytes are kept.*run it again to go on"):
        download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert len(site.requests) == 3
    assert not (tmp_path / NAME).exists()


def test_the_pauses_double(
    serve: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(statuses=[503, 500, 429])
    pauses: list[float] = []
    monkeypatch.setattr(http_file.time, "sleep", pauses.append)
    download_file(remote_of(site), tmp_path / NAME, 4, 1.0, 0.5)
    assert pauses[:3] == [1.0, 2.0, 4.0]


def test_a_stalled_connection_counts_as_lost(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(drop_after=100_000, stalls=30.0)
    start = time.monotonic()
    download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert 0.4 < time.monotonic() - start < 10


def test_a_slow_stream_is_waited_for(serve: Callable[..., Site], tmp_path: Path) -> None:
    """All of it takes longer than the time without a byte after which a connection counts as lost."""
    site = serve(CONTENT[:20_000], pause=0.05)
    remote = RemoteFile(
        f"{site.address}/{NAME}", 20_000, hashlib.sha256(CONTENT[:20_000]).hexdigest()
    )
    start = time.monotonic()
    download_file(remote, tmp_path / NAME, **PATIENCE)
    assert time.monotonic() - start > PATIENCE["timeout_seconds"]
    assert len(site.requests) == 1


@pytest.mark.parametrize("says_length", [True, False])
def test_a_truncated_file_is_refused(
    serve: Callable[..., Site], tmp_path: Path, says_length: bool
) -> None:
    site = serve(CONTENT[:-1], says_length=says_length)
    with pytest.raises(KwsError, match="expected 300000 bytes, got 299999"):
        download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert not (tmp_path / NAME).exists()


def test_a_wrong_file_is_refused(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(CONTENT[:-1] + b"?")
    with pytest.raises(KwsError, match="is not the published file: expected SHA-256 [0-9a-f]{64}"):
        download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert leftovers(tmp_path) == []


def test_what_is_not_there_is_not_asked_for_again(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    site = serve()
    missing = RemoteFile(f"{site.address}/other.tar.gz", None, None)
    with pytest.raises(
        KwsError, match="could not be downloaded .HTTP Error 404: Not Found; 1 attempts"
    ):
        download_file(missing, tmp_path / NAME, **PATIENCE)
    assert len(site.requests) == 1


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="refused.*3 attempts"):
        download_file(RemoteFile("http://127.0.0.1:9/a", None, None), tmp_path / "a", **PATIENCE)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/a",
        "clips.tar.gz",
        "http:/a",
    ],
)
def test_only_the_web(address: str, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="begins with http"):
        download_file(RemoteFile(address, None, None), tmp_path / "a", **PATIENCE)


def test_a_wrong_part_is_removed(serve: Callable[..., Site], tmp_path: Path) -> None:
    http_file.part_of(tmp_path / NAME).write_bytes(b"x" * 1000)
    site = serve()
    with pytest.raises(KwsError, match="expected SHA-256.*what came was removed: run it again"):
        download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert leftovers(tmp_path) == []
    download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == ["bytes=1000-", "bytes=0-"]


def test_a_whole_part_is_not_asked_for(serve: Callable[..., Site], tmp_path: Path) -> None:
    http_file.part_of(tmp_path / NAME).write_bytes(CONTENT)
    site = serve()
    download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert site.requests == []


def test_without_a_checksum_nothing_old_is_gone_on_with(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    http_file.part_of(tmp_path / NAME).write_bytes(b"x" * 1000)
    download_file(remote_of(serve(), sha256=None), tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert leftovers(tmp_path) == [NAME]


def test_a_full_disk_is_no_lost_connection(serve: Callable[..., Site], tmp_path: Path) -> None:
    http_file.part_of(tmp_path / NAME).symlink_to("/dev/full")
    site = serve()
    with pytest.raises(KwsError, match="cannot write .*No space left on device"):
        download_file(remote_of(site), tmp_path / NAME, **PATIENCE)
    assert len(site.requests) == 1


def test_a_killed_download_is_gone_on_with(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(pause=0.01)
    remote = remote_of(site)
    program = (
        "from pathlib import Path; from speech_commands_kws.data.fetch.http_file import *;"
        f"download_file({remote!r}, Path({str(tmp_path / NAME)!r}), **{PATIENCE!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    part = http_file.part_of(tmp_path / NAME)
    deadline = time.monotonic() + 30
    while http_file.length_of(part) < 20_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    have = http_file.length_of(part)
    assert 20_000 <= have < len(CONTENT)
    site.pause = 0.0
    download_file(remote, tmp_path / NAME, **PATIENCE)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert site.requests[-1] == (f"/{NAME}", f"bytes={have}-")
