"""Unpacks archives from the internet: plain files and folders below one folder, and nothing else."""

import shutil
import tarfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.whole_folder import make_whole


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into a new folder, which is there as a whole or not at all.

    Raises:
        KwsError: it is damaged or larger than the disk, or holds what no data set needs: links, devices, names that
            lead out of the folder.
    """
    make_whole(folder, partial(_extract, archive))


def member_fault(member: tarfile.TarInfo) -> str | None:
    """What is wrong with a member of an archive, if anything."""
    path = PurePosixPath(member.name)
    if member.issym() or member.islnk():
        return "a link"
    if not (member.isfile() or member.isdir()):
        return "no file and no folder"
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        return "a name that leads out of the folder"
    return None


def _extract(archive: Path, folder: Path) -> None:
    room = shutil.disk_usage(folder).free
    try:
        with tarfile.open(archive, "r:gz") as tar:
            # A second guard, the standard library's own, where this Python has it.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for member in tar:
                room -= member.size
                _check(archive, member, room)
                tar.extract(member, folder)
                tar.members = []  # it would keep them all
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise KwsError(
            f"{archive} cannot be unpacked ({error}): remove it and fetch it again"
        ) from None


def _check(archive: Path, member: tarfile.TarInfo, room: int) -> None:
    fault = member_fault(member)
    if fault:
        raise KwsError(
            f"{archive} holds {member.name!r}, {fault}: nothing of it was kept, get it from elsewhere"
        )
    if room < 0:
        raise KwsError(
            f"{archive} unpacked is larger than what is free in {archive.parent}: make room there"
        )
