"""Sound without keywords out of Debian's packages: continuous speech, music, and a text for synthetic talk."""

import gzip
import logging
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from struct import Struct
from typing import Any

import numpy as np

from speech_commands_kws.audio.reading import AUDIO_SUFFIXES
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.data.fetch.http_file import RemoteFile, download_file, file_fault
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.files.lock import locked
from speech_commands_kws.files.whole_folder import make_whole

# A package is an archive of ar: a magic number, then members behind headers of which the name and the size matter.
AR_MAGIC = b"!<arch>\n"
AR_HEADER = Struct("16s32x10s2x")
CONTENT = b"data.tar"
G722_RATE, G722_BITS_PER_SECOND = 16_000, 64_000
# The text of bible-kjv-text: this, the number of blocks, where each of them begins and the last one ends; a block is
# what compress(1) makes, without its first three bytes.
TEXT_MAGIC, TEXT_HEADER, TEXT_OFFSET = b"EC02Compressed Data File", Struct(">I"), 0x58
COMPRESS_HEADER = b"\x1f\x9d\x90"
# What Asterisk, Festival and a game call the texts of their recordings.
ASTERISK_TEXTS = tuple(
    f"core-sounds-{language}.txt.gz" for language in ("en", "es", "fr", "it", "ru")
)
FESTIVAL_TEXTS, FESTIVAL_LINE = "txt.done.data", re.compile(r'^\( (\S+) "(.*)" \)$', re.MULTILINE)
GAME_TEXTS = "dialogs_cs.lua"
GAME_LINES = re.compile(r'^dialogId\("([^"]+)".*\n\s*dialogStr\("(.*)"\)', re.MULTILINE)

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DebianCorpora:
    """Which packages are fetched, and where their sound goes.

    Attributes:
        root: of the folders.
        address: of a Debian archive, or of a mirror.
        packages: `path` below that address, `size` (bytes), `sha256` and `folder` of each, and where not all of it is
            wanted the name of `only` those files.
        leave_out: names of folders within the packages.
        attempts, backoff_seconds, timeout_seconds: see `download_file`.
    """

    root: str
    address: str
    packages: Sequence[Mapping[str, Any]]
    leave_out: Sequence[str]
    attempts: int
    backoff_seconds: float
    timeout_seconds: float

    def prepare(self) -> Path:
        """Fetch the packages whose folders are not there.

        Raises:
            KwsError: one is not to be had, or not the published one.
        """
        root = Path(self.root).absolute()
        with locked(root / ".lock", "fetching corpora"):
            for package in self.packages:
                if not (root / package["folder"]).is_dir():
                    self._fetch(package, root / package["folder"], root)
        return root

    def _fetch(self, package: Mapping[str, Any], folder: Path, root: Path) -> None:
        url = f"{self.address.rstrip('/')}/{package['path']}"
        archive = root / PurePosixPath(package["path"]).name
        remote = RemoteFile(url, package["size"], package["sha256"])
        if not archive.is_file() or file_fault(archive, remote):
            LOG.info("%s: downloading %s", folder, url)
            download_file(
                remote, archive, self.attempts, self.backoff_seconds, self.timeout_seconds
            )
        make_whole(folder, partial(self._lay_out, archive, package.get("only")))
        archive.unlink()

    def _lay_out(self, archive: Path, only: str | None, folder: Path) -> None:
        """The sounds and texts of a package, by their names; of `.g722` and `bible.data` what they encode."""
        with content_of(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                kept = member.isfile() and not set(self.leave_out) & set(name.parts)
                kept = kept and only in (None, name.name)
                if kept and (write := WRITERS.get(name.suffix, WRITERS.get(name.name))):
                    write(tar.extractfile(member).read(), folder.joinpath(*shortened(name)))


def shortened(name: PurePosixPath) -> tuple[str, ...]:
    """A name such as ./usr/share/asterisk/moh/a.g722 without its first two folders."""
    parts = [part for part in name.parts if part not in ("..", "/")]
    return tuple(parts[2:])


@contextmanager
def content_of(archive: Path) -> Iterator[tarfile.TarFile]:
    """The files of a Debian package, to be read one after the other."""
    with archive.open("rb") as stream:
        if stream.read(len(AR_MAGIC)) != AR_MAGIC:
            raise KwsError(f"{archive} is no Debian package: remove it and start again")
        while header := stream.read(AR_HEADER.size):
            name, size = AR_HEADER.unpack(header)
            if name.startswith(CONTENT):
                break
            stream.seek(int(size) + int(size) % 2, 1)
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            yield tar


def write_sound(content: bytes, path: Path) -> None:
    with written_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_g722(content: bytes, path: Path) -> None:
    """As a WAV file: no library that reads sound files decodes G.722."""
    from G722 import G722

    samples = np.frombuffer(G722(G722_RATE, G722_BITS_PER_SECOND).decode(content), np.int16)
    write_wav(path.with_suffix(".wav"), samples / np.iinfo(np.int16).max, G722_RATE)


def write_text(content: bytes, path: Path) -> None:
    """The verses as lines, without their numbers, into a text file."""
    assert content.startswith(TEXT_MAGIC), "another form of bible.data"
    (count,) = TEXT_HEADER.unpack_from(content, TEXT_OFFSET)
    borders = np.frombuffer(content, ">u4", count + 1, TEXT_OFFSET + TEXT_HEADER.size)
    blocks = [content[i:j] for i, j in zip(borders, borders[1:], strict=False)]
    title, *verses = b"".join(map(uncompressed, blocks)).decode("latin-1").splitlines()
    lines = [verse.partition(" ")[2] for verse in verses]
    path.with_suffix(".txt").write_text("\n".join(filter(None, lines)) + "\n", encoding="utf-8")


def uncompressed(block: bytes) -> bytes:
    """Python does not read what compress(1) writes, and gzip, which is on every machine with make, does."""
    command = ["gzip", "--decompress", "--stdout"]
    return subprocess.run(
        command, input=COMPRESS_HEADER + block, capture_output=True, check=True
    ).stdout


def write_transcripts(content: bytes, path: Path) -> None:
    """Lines `recording: text`: what Asterisk compresses, or made of what others write."""
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    found = FESTIVAL_LINE.findall(text) + GAME_LINES.findall(text)
    lines = "".join(f"{name}: {said}\n" for name, said in found) or text
    write_sound(lines.encode(), path.with_name("transcripts.txt"))


WRITERS: Mapping[str, Callable[[bytes, Path], None]] = {
    **dict.fromkeys(AUDIO_SUFFIXES, write_sound),
    ".g722": write_g722,
    "bible.data": write_text,
    **dict.fromkeys((*ASTERISK_TEXTS, FESTIVAL_TEXTS, GAME_TEXTS), write_transcripts),
}
