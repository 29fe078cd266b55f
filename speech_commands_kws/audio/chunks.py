"""Sound as it comes, chunk by chunk, float32 (T,) at one rate: of a file at any speed, of a pipe, in flat memory."""

import struct
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from speech_commands_kws.audio.containers import CHUNK_HEADER, RIFF_HEADER, UNKNOWN_BYTES
from speech_commands_kws.audio.reading import (
    AudioError,
    check_rate,
    resample_blocks,
    stream_audio,
    to_float,
)
from speech_commands_kws.errors import check_number, check_whole, display_name

READ_BYTES = 2**16
MS_PER_SECOND = 1000
# Format, channels, rate, bytes a second and a frame, bits; an "extensible" one says the format behind them.
FORMAT, EXTENSIBLE, SUBFORMAT = struct.Struct("<HHIIHH"), 0xFFFE, slice(24, 26)
WAV_TYPES = {(1, 8): "u1", (1, 16): "<i2", (1, 32): "<i4", (3, 32): "<f4"}
RAW_TYPE = "<i2"
# How files begin whose bytes are no samples.
COMPRESSED = (b"fLaC", b"OggS", b"ID3", b"FORM", b"RF64", b"caff", b".snd")


class Samples(NamedTuple):
    """What the bytes of a pipe are; `size` is how many there are, at most."""

    type: str
    rate: int
    channels: int
    size: float = inf


def file_chunks(
    path: Path, sample_rate: int, speed: float = 1.0, chunk_ms: float = 100
) -> Iterator[np.ndarray]:
    """A sound file of any format, rate and channel count.

    Args:
        speed: times real time; a chunk comes when it would have been heard. 0: as fast as it is taken.
        chunk_ms: length of a chunk; with speed=0 they are longer.
    """
    check_number(0, speed=speed)
    blocks = stream_audio(path, sample_rate)
    if speed:
        return _paced(
            blocks, sample_rate * speed, max(round(sample_rate * chunk_ms / MS_PER_SECOND), 1)
        )
    return blocks


def _paced(
    blocks: Iterator[np.ndarray], samples_per_second: float, chunk_samples: int
) -> Iterator[np.ndarray]:
    begin, samples = time.monotonic(), 0
    for block in blocks:
        for start in range(0, len(block), chunk_samples):
            chunk = block[start : start + chunk_samples]
            samples += len(chunk)
            time.sleep(max(begin + samples / samples_per_second - time.monotonic(), 0))
            yield chunk


def pipe_chunks(
    stream: BinaryIO, sample_rate: int, rate: int | None = None, channels: int = 1
) -> Iterator[np.ndarray]:
    """WAV, whose header need not know how much follows, or raw 16-bit samples; each chunk as soon as it is there.

    Args:
        rate, channels: of raw samples; None is `sample_rate`. A WAV says its own.

    Raises:
        AudioError: there is nothing, or something else.
    """
    check_whole(rate=sample_rate if rate is None else rate, channels=channels)
    name = display_name(stream)
    start = stream.read(RIFF_HEADER.size)
    if not start:
        raise AudioError(f"{name} is empty: pipe sound into it")
    if start.startswith(COMPRESSED):
        raise AudioError(
            f"{name} holds neither WAV nor raw samples, it begins with {start[:4]!r}: convert it, or name the file"
        )
    samples = Samples(RAW_TYPE, rate or sample_rate, channels)
    if len(start) == RIFF_HEADER.size and RIFF_HEADER.unpack(start) == (b"RIFF", b"WAVE"):
        samples, start = wav_samples(stream, name), b""
    check_rate(samples.rate, name)
    blocks = (_mono(block, samples, name) for block in _whole_frames(stream, start, samples))
    return resample_blocks(blocks, samples.rate, sample_rate)


def wav_samples(stream: BinaryIO, name: str) -> Samples:
    """Read the header of a WAV from behind its first twelve bytes to the first sample."""
    form = b""
    while len(header := stream.read(CHUNK_HEADER.size)) == CHUNK_HEADER.size:
        kind, size = CHUNK_HEADER.unpack(header)
        if kind == b"data":
            break
        content = stream.read(size + size % 2)
        form = content if kind == b"fmt " else form
    if len(header) < CHUNK_HEADER.size or len(form) < FORMAT.size:
        raise AudioError(f"{name} is a WAV that ends within its header: pipe it again")
    tag, channels, rate, _, _, bits = FORMAT.unpack_from(form)
    if tag == EXTENSIBLE:
        tag = int.from_bytes(form[SUBFORMAT], "little")
    if (tag, bits) not in WAV_TYPES or not channels:
        raise AudioError(
            f"{name} is a WAV of format {tag} with {bits} bits and {channels} channels: expected 8-, 16- or 32-bit "
            "integers or 32-bit floats"
        )
    # A program that writes into a pipe promises nothing, or all there is.
    return Samples(WAV_TYPES[tag, bits], rate, channels, size if 0 < size < UNKNOWN_BYTES else inf)


def _whole_frames(stream: BinaryIO, start: bytes, samples: Samples) -> Iterator[bytes]:
    """What is there, `start` first, without the part of a frame that has not come yet."""
    frame_bytes = np.dtype(samples.type).itemsize * samples.channels
    held, left = start, samples.size
    while data := stream.read1(int(min(READ_BYTES, left))):  # type: ignore[attr-defined]
        left -= len(data)
        held += data
        whole = len(held) // frame_bytes * frame_bytes
        if whole:
            yield held[:whole]
        held = held[whole:]


def _mono(block: bytes, samples: Samples, name: str) -> np.ndarray:
    columns = np.frombuffer(block, samples.type).reshape(-1, samples.channels)
    return to_float(columns, name).mean(axis=1, dtype=np.float32)
