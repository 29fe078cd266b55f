"""The way from a web server to a folder of recordings; archives that mean well, and archives that do not."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from web_server import Site, served

from speech_commands_kws.data.fetch import archives
from speech_commands_kws.data.fetch.archives import download_data, unpack
from speech_commands_kws.errors import KwsError

NAME = "speech_commands_v0.02"
ARCHIVE = f"{NAME}.tar.gz"
CLIPS = {"yes/a.wav": b"yes" * 30_000, "no/b.wav": b"no" * 30_000}
PATIENCE = {"attempts": 3, "backoff_seconds": 0.01, "timeout_seconds": 2.0}


def tar_of(clips: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=0) as tar:
        for name, content in clips.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


CONTENT = tar_of(CLIPS)


def settings(site: Site, **changes: object) -> dict[str, object]:
    facts = {
        "name": NAME,
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return {
        "address": f"{site.address}/",
        "archives": [facts | changes],
        **PATIENCE,
        "space_factor": 2.5,
    }


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:
        yield lambda content=CONTENT, **faults: stack.enter_context(
            served(Site({ARCHIVE: content}, **faults))
        )


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def assert_there(folder: Path) -> None:
    for name, content in CLIPS.items():
        assert (folder / name).read_bytes() == content


def test_the_recordings_are_there_and_the_archive_is_gone(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    site = serve(drop_after=50_000)
    download_data(tmp_path / "data" / NAME, **settings(site))
    assert_there(tmp_path / "data" / NAME)
    assert visible(tmp_path / "data") == [NAME]


def test_what_is_there_is_not_fetched(serve: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    site = serve()
    download_data(tmp_path / NAME, **settings(site))
    assert site.requests == []


def test_an_archive_beside_it_is_unpacked_and_kept(
    serve: Callable[..., Site], tmp_path: Path
) -> None:
    (tmp_path / ARCHIVE).write_bytes(CONTENT)
    site = serve()
    download_data(tmp_path / NAME, **settings(site))
    assert_there(tmp_path / NAME)
    assert site.requests == []
    assert visible(tmp_path) == [NAME, ARCHIVE]


@pytest.mark.parametrize(("content", "fault"), [(b"short", "bytes"), (CONTENT[:-1] + b"?", "SHA")])
def test_a_wrong_archive_is_not_unpacked(
    serve: Callable[..., Site], tmp_path: Path, content: bytes, fault: str
) -> None:
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(KwsError, match=f"expected .*{fault}.*remove it"):
        download_data(tmp_path / NAME, **settings(serve()))
    with pytest.raises(KwsError, match=f"not the published file: expected .*{fault}"):
        download_data(tmp_path / "b" / NAME, **settings(serve(content)))
    assert visible(tmp_path / "b") == []


def test_what_has_no_checksum_is_named(
    serve: Callable[..., Site], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    download_data(tmp_path / NAME, **settings(serve(), size=None, sha256=None))
    assert_there(tmp_path / NAME)
    assert "is not checked: nobody has published its SHA-256" in caplog.text


def test_a_flipped_bit_is_noticed_where_no_checksum_is_known(tmp_path: Path) -> None:
    """By gzip's own, which stands at the end: the recordings are stored as they are, so that no other sees it."""
    content = bytearray(CONTENT)
    content[len(content) // 2] ^= 1
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(KwsError, match="cannot be unpacked .*CRC check failed.*fetch it again"):
        unpack(tmp_path / ARCHIVE, tmp_path / NAME)
    assert visible(tmp_path) == [ARCHIVE]


def test_an_unknown_name(serve: Callable[..., Site], tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=f"no data set of that name is known \\({NAME}\\)"):
        download_data(tmp_path / "my_clips", **settings(serve()))


def test_the_disk_is_looked_at_first(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve()
    with pytest.raises(KwsError, match="expected 2500000.0 GB free .* make room"):
        download_data(tmp_path / NAME, **settings(site, size=10**15))
    assert site.requests == []


def test_what_has_come_already_needs_no_more_room(
    serve: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs: list[float] = []
    monkeypatch.setattr(archives, "check_space", lambda _, needed: needs.append(needed))
    (tmp_path / f".{ARCHIVE}.part").write_bytes(CONTENT[:1000])
    download_data(tmp_path / NAME, **settings(serve()))
    assert needs == [2.5 * len(CONTENT) - 1000]


PROGRAM = (
    "import json, sys; from pathlib import Path\n"
    "from speech_commands_kws.data.fetch.archives import download_data\n"
    "download_data(Path(sys.argv[1]), **json.loads(sys.argv[2]))"
)


def start(folder: Path, site: Site) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(settings(site))]
    )


def test_two_processes_at_once_download_once(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(pause=0.002)
    processes = [start(tmp_path / NAME, site) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert_there(tmp_path / NAME)
    assert len(site.requests) == 1


def test_after_a_kill_the_next_one_goes_on(serve: Callable[..., Site], tmp_path: Path) -> None:
    site = serve(pause=0.01)
    process = start(tmp_path / NAME, site)
    part = tmp_path / f".{ARCHIVE}.part"
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size > 10_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / NAME).exists()
    site.pause, have = 0.0, part.stat().st_size
    download_data(tmp_path / NAME, **settings(site))
    assert_there(tmp_path / NAME)
    assert site.requests[-1][1] == f"bytes={have}-"


def test_it_is_called_with_a_folder(serve: Callable[..., Site], tmp_path: Path) -> None:
    partial(download_data, **settings(serve()))(tmp_path / NAME)
    assert_there(tmp_path / NAME)


# Unpacking


def archive_of(path: Path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_files_and_folders_come_out(tmp_path: Path) -> None:
    """As in the published archives: everything below `./`."""
    script = tarfile.TarInfo("./yes/a.wav")
    script.mode, script.uid = 0o4777, 12345
    folder = special("./yes", tarfile.DIRTYPE)
    archive = archive_of(
        tmp_path / "a.tar.gz", (folder, b""), (script, b"sound"), ("./testing_list.txt", b"x")
    )
    unpack(archive, tmp_path / "out")
    found = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    )
    assert found == ["testing_list.txt", "yes", "yes/a.wav"]
    clip = tmp_path / "out/yes/a.wav"
    assert clip.read_bytes() == b"sound"
    assert clip.stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize(
    "member",
    [
        "../evil.wav",
        "yes/../../evil.wav",
        special("yes/a.wav", tarfile.SYMTYPE, "/etc/passwd"),
        special("yes/a.wav", tarfile.LNKTYPE, "../../evil"),
        special("yes/a.wav", tarfile.FIFOTYPE),
        special("yes/a.wav", tarfile.CHRTYPE),
    ],
)
def test_an_archive_that_reaches_out_is_refused_as_a_whole(
    member: tarfile.TarInfo | str, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = archive_of(inside / "a.tar.gz", ("no/good.wav", b"sound"), (member, b""))
    with pytest.raises(KwsError, match="cannot be unpacked"):
        unpack(archive, inside / "out")
    assert [path.name for path in inside.iterdir()] == ["a.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("damage", [lambda data: data[:-200], lambda data: b"<html>not found"])
def test_a_damaged_archive_leaves_nothing(damage, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", ("yes/a.wav", bytes(range(256)) * 400))
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(KwsError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
