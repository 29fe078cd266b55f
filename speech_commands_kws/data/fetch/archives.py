"""Published data sets: downloaded, checked and unpacked, completely or not at all."""

import gzip
import logging
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from speech_commands_kws.data.fetch.http_file import (
    BLOCK,
    RemoteFile,
    download_file,
    file_fault,
    length_of,
    part_of,
)
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.lock import locked
from speech_commands_kws.files.whole_folder import make_whole

SUFFIX = ".tar.gz"
GIGABYTE = 10**9

LOG = logging.getLogger(__name__)


def download_data(
    folder: Path,
    address: str,
    archives: Sequence[Mapping[str, Any]],
    attempts: int,
    backoff_seconds: float,
    timeout_seconds: float,
    space_factor: float,
) -> None:
    """Bring the data set that a folder is named after, unless the folder is there.

    An archive that lies beside the folder is checked and unpacked; one that is missing is downloaded for that, and
    removed afterwards. Several processes may do this at once: one works, the others wait.

    Args:
        folder: ends in the name of one of the archives.
        address: of the folder on a web server that holds `<name>.tar.gz`.
        archives: `name`, `size` (bytes) and `sha256` of each; None where nobody has published them.
        attempts, backoff_seconds, timeout_seconds: see `download_file`.
        space_factor: room for an archive and what it unpacks to, in sizes of the archive.

    Raises:
        KwsError: the folder has no such name, or the archive is not to be had, not the published one, or too large.
    """
    folder = folder.absolute()
    known = {archive["name"]: archive for archive in archives}
    if folder.name not in known:
        raise KwsError(
            f"expected recordings at {folder}, found none, and no data set of that name is known "
            f"({', '.join(known)}): give the folder where they lie, or one of these names"
        )
    facts = known[folder.name]
    remote = RemoteFile(
        f"{address.rstrip('/')}/{folder.name}{SUFFIX}", facts["size"], facts["sha256"]
    )
    with locked(folder.with_name(f".{folder.name}.lock"), f"fetching {folder.name}"):
        if folder.is_dir():
            return
        archive = folder.with_name(f"{folder.name}{SUFFIX}")
        have = length_of(archive) + length_of(part_of(archive))
        check_space(folder, (remote.size or 0) * space_factor - have)
        if archive.is_file():
            fault = file_fault(archive, remote)
            if fault:
                raise KwsError(
                    f"{archive} is not the published file: {fault}; remove it and start again"
                )
            unpack(archive, folder)
        else:
            LOG.info("%s: downloading %s", folder, remote.url)
            download_file(remote, archive, attempts, backoff_seconds, timeout_seconds)
            unpack(archive, folder)
            archive.unlink()
    LOG.info("%s is there", folder)


def check_space(folder: Path, needed: float) -> None:
    """Raises KwsError if a folder's disk has not this many bytes free."""
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise KwsError(
            f"expected {needed / GIGABYTE:.1f} GB free at {folder.parent} for {folder.name}, found "
            f"{free / GIGABYTE:.1f} GB: make room, or set paths.data to a folder elsewhere"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into a new folder, which is there as a whole or not at all.

    Raises:
        KwsError: it is damaged, or holds what no data set needs: devices, names and links that lead out of the folder.
    """
    make_whole(folder, partial(_extract, archive))


def _extract(archive: Path, folder: Path) -> None:
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            # Python 3.11.4 brought it; before that an archive is as safe as its checksum.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(folder)
            # The checksum stands at the end, behind what tarfile reads.
            while stream.read(BLOCK):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise KwsError(
            f"{archive} cannot be unpacked ({error}): remove it and fetch it again"
        ) from None
