"""Archives that mean well, and archives that do not."""

import io
import tarfile
from pathlib import Path

import pytest

from speech_commands_kws.data.fetch import unpacking
from speech_commands_kws.data.fetch.unpacking import unpack
from speech_commands_kws.errors import KwsError


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
    ("member", "fault"),
    [
        ("../evil.wav", "leads out"),
        ("yes/../../evil.wav", "leads out"),
        ("/evil.wav", "leads out"),
        ("..\\evil.wav", "leads out"),
        (special("yes/a.wav", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (special("yes/a.wav", tarfile.SYMTYPE, "b.wav"), "a link"),
        (special("yes/a.wav", tarfile.LNKTYPE, "../../evil"), "a link"),
        (special("yes/a.wav", tarfile.FIFOTYPE), "no file and no folder"),
        (special("yes/a.wav", tarfile.CHRTYPE), "no file and no folder"),
    ],
)
def test_an_archive_that_reaches_out_is_refused_as_a_whole(
    member: tarfile.TarInfo | str, fault: str, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = archive_of(inside / "a.tar.gz", ("no/good.wav", b"sound"), (member, b""))
    with pytest.raises(KwsError, match=fault):
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


def test_more_than_the_disk_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", ("a", bytes(600)), ("b", bytes(600)))

    class Usage:
        free = 1000

    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(KwsError, match="larger than what is free"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
