"""Fetches missing recordings: with DVC if there is a pointer, otherwise from their publisher."""

import logging
from collections.abc import Callable
from pathlib import Path

from speech_commands_kws.data.fetch.archives import SUFFIX
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.dvc import dvc_pointer, ensure_present

LOG = logging.getLogger(__name__)


def fetch_folder(folder: Path, download: Callable[[Path], None] | None) -> None:
    """Bring a folder of recordings, which DVC may track itself or as the archive that it is unpacked from.

    Args:
        download: `download_data` with its settings; None where nobody publishes the recordings.

    Raises:
        KwsError: neither way works.
    """
    if folder.exists():
        return
    if dvc_pointer(folder):
        ensure_present(folder)
        return
    if download is None:
        return
    archive = folder.with_name(f"{folder.name}{SUFFIX}")
    if dvc_pointer(archive):
        try:
            ensure_present(archive)
        except KwsError as error:
            LOG.warning("%s; downloading it from where it is published instead", error)
    download(folder)
