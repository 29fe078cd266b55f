"""What libsndfile passes over in a file: that some of it is missing or was changed, or where it ends."""

import re
import struct
import tempfile
import zlib
from io import SEEK_CUR, SEEK_END
from shutil import copyfileobj
from typing import IO

import soundfile

# A program that writes WAV into a pipe cannot know the length and promises "all there is".
UNKNOWN_BYTES = 0x7FFF0000
# How libsndfile notes a chunk of audio that is shorter than its header promises.
SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
# The same of an RF64, the other way round and in samples.
SHORT_RF64 = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
# Where it stopped because what follows the audio of a WAV is no chunk: neither texts nor zeros.
NO_CHUNK = re.compile(r"Unknown chunk marker \(\w+\) at position (\d+)")
BLOCK_ALIGN = re.compile(r"Block Align\s*: (\d+)")
SAMPLE_BYTES = {
    **{"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4},
    **{"FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1},
}
LARGEST_CHUNK = 2**32 - 1
CHUNK_HEADER, RIFF_HEADER = struct.Struct("<4sI"), struct.Struct("<4s4x4s")
# A page of Ogg: what begins it, the bytes before its table of lengths, where its flags and its checksum are.
OGG_PAGE, OGG_HEADER, OGG_FLAGS, OGG_CHECKSUM = b"OggS", 27, 5, slice(22, 26)
OGG_FIRST, OGG_LAST = 2, 4
# Android and Telegram write Opus whose last page is not marked (github.com/chenxiaolong/BCR/pull/922).
OPUS = b"OpusHead"
BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# An MP3 with an index names its length near its beginning.
ID3_HEADER, ID3_BITS, MP3_INDEXES, MP3_INDEX_WITHIN = 10, 7, (b"Xing", b"Info"), 64
FAR_BEYOND_THE_END = 2**50


def cut_off(promised: str, present: int | str) -> str:
    return f"is cut off: its header promises {promised}, {present} are there; copy it again"


def header_fault(sound: soundfile.SoundFile) -> str | None:
    """What contradicts the header of a file, as libsndfile notes it while it opens it."""
    for promised, present in SHORT_CHUNK.findall(sound.extra_info):
        if int(present) < int(promised) < UNKNOWN_BYTES:
            return cut_off(f"{promised} bytes of audio", present)
    for present, promised in SHORT_RF64.findall(sound.extra_info):
        if int(present) < int(promised):
            return cut_off(f"{promised} samples", present)
    if behind := NO_CHUNK.search(sound.extra_info):
        return (
            f"has bytes behind its audio, from {behind[1]} on, that are no part of a WAV: its size is wrong, or it was "
            "changed on its way, as by FTP in text mode; copy it again"
        )
    frame_bytes = SAMPLE_BYTES.get(sound.subtype, 0) * sound.channels
    given = BLOCK_ALIGN.search(sound.extra_info)
    # Nothing is what some programs write there.
    if frame_bytes and given and int(given[1]) not in (0, frame_bytes):
        return (
            f"contradicts itself: its header says {given[1]} bytes for a sample of all channels, {sound.channels} of "
            f"{sound.subtype} have {frame_bytes}; save it again"
        )
    return None


def unknown_length(handle: IO[bytes]) -> int | None:
    """Where a WAV says that its audio has 0 bytes while bytes follow that are no further chunk; None in any other file.

    A program that writes into a pipe cannot go back to fill the length in.
    """
    end = handle.seek(0, SEEK_END)
    handle.seek(0)
    place = None
    header = handle.read(RIFF_HEADER.size)
    if len(header) < RIFF_HEADER.size or RIFF_HEADER.unpack(header) != (b"RIFF", b"WAVE"):
        return None
    while len(header := handle.read(CHUNK_HEADER.size)) == CHUNK_HEADER.size:
        name, size = CHUNK_HEADER.unpack(header)
        if name == b"data":
            if size:
                return None
            place = handle.tell() - CHUNK_HEADER.size
        if handle.seek(size + size % 2, SEEK_CUR) > end:
            break
    return place if handle.tell() > end or header else None


def with_length(handle: IO[bytes], place: int) -> IO[bytes]:
    """A copy of a WAV whose audio reaches from the header at `place` to the end."""
    copy = tempfile.TemporaryFile()
    handle.seek(0)
    copyfileobj(handle, copy)
    size = min(copy.tell() - place - CHUNK_HEADER.size, LARGEST_CHUNK)
    copy.seek(place)
    copy.write(CHUNK_HEADER.pack(b"data", size))
    return copy


def ogg_fault(handle: IO[bytes]) -> str | None:
    """What is wrong with the pages of an Ogg file, if it is one.

    libsndfile passes over a damaged page, takes the last one that is there for the end, and reads one stream alone.
    """
    handle.seek(0)
    goes_on, ends = False, False
    while (header := handle.read(OGG_HEADER)).startswith(OGG_PAGE):
        lengths = handle.read(header[-1])
        page = header + lengths + handle.read(sum(lengths))
        if len(header) < OGG_HEADER or len(page) < OGG_HEADER + header[-1] + sum(lengths):
            return "is cut off within its last page; copy it again"
        if ends and header[OGG_FLAGS] & OGG_FIRST:
            return "holds several streams one after another, of which one could be read: split it"
        if not _fits_checksum(page):
            return f"is damaged within the page that ends at byte {handle.tell()}; copy it again"
        if header[OGG_FLAGS] & OGG_FIRST:
            goes_on = OPUS not in page
        ends = bool(header[OGG_FLAGS] & OGG_LAST)
    return "is cut off: its last page is missing; copy it again" if goes_on and not ends else None


def _fits_checksum(page: bytes) -> bool:
    """Ogg's checksum is zlib's with the bits the other way round, from zero and not inverted."""
    blank = page[: OGG_CHECKSUM.start] + bytes(4) + page[OGG_CHECKSUM.stop :]
    checksum = ~zlib.crc32(blank.translate(BITS_REVERSED), LARGEST_CHUNK) & LARGEST_CHUNK
    return checksum == int.from_bytes(page[OGG_CHECKSUM].translate(BITS_REVERSED), "big")


def has_mp3_index(handle: IO[bytes]) -> bool:
    handle.seek(0)
    start = handle.read(ID3_HEADER)
    if start.startswith(b"ID3"):
        # The last four bytes are the length of the texts before the sound.
        size = sum(byte << ID3_BITS * i for i, byte in enumerate(reversed(start[-4:])))
        handle.seek(size, SEEK_CUR)
        start = b""
    start += handle.read(MP3_INDEX_WITHIN)
    return any(name in start for name in MP3_INDEXES)


class FarEnd:
    """A file that says that its end is far away.

    libsndfile estimates how long an MP3 without an index is, from the size of the file and of its first frame, and
    stops there; of such a file it reads what there is.
    """

    def __init__(self, handle: IO[bytes]):
        self.handle = handle
        self.beyond = 0

    def seek(self, offset: int, whence: int) -> int:
        self.beyond = FAR_BEYOND_THE_END if whence == SEEK_END else 0
        self.handle.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self.handle.tell() + self.beyond

    def read(self, size: int) -> bytes:
        return self.handle.read(size)
