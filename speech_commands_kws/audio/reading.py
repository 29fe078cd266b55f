"""Sound of any format, rate and channel count as float32 mono at one rate: a whole clip, or a
stream of blocks.

Shapes: `T` samples, `C` channels.
"""

import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_CUR, SEEK_END
from pathlib import Path
from shutil import copyfileobj
from typing import IO, BinaryIO

import numpy as np
import soundfile
import soxr

from speech_commands_kws.errors import KwsError, display_name

# Anything outside is a damaged header rather than a recording; 768 kHz is the fastest converter on
# sale.
LOWEST_RATE = 1_000
HIGHEST_RATE = 768_000
# 40 dB above full scale. Float files may exceed 1.0 a little; integers kept as floats exceed it
# vastly.
HIGHEST_PEAK = 100.0
LONGEST_CLIP_SECONDS = 600.0
# Values read at a time over all channels: memory stays the same for an hour and for 1,024 channels.
BLOCK_VALUES = 2**16
# A program that writes WAV into a pipe cannot know the length and promises "all there is".
UNKNOWN_BYTES = 0x7FFF0000
UNKNOWN_FRAMES = 2**62
# How libsndfile notes a chunk of audio that is shorter than its header promises.
SHORT_CHUNK = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
# The same of an RF64, the other way round and in samples.
SHORT_RF64 = re.compile(r"frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
LARGEST_CHUNK = 2**32 - 1
CHUNK_HEADER, RIFF_HEADER = struct.Struct("<4sI"), struct.Struct("<4s4x4s")
# A page of Ogg: what begins it, the bytes before its table of lengths, and the most bytes that it has.
OGG_PAGE, OGG_HEADER, LONGEST_OGG_PAGE = b"OggS", 27, 65307
# An MP3 with an index names its length near its beginning; what decoders make of it differs by up to two frames.
ID3_HEADER, ID3_BITS, MP3_INDEXES, MP3_INDEX_WITHIN = 10, 7, (b"Xing", b"Info"), 64
MP3_FRAME = b"\xff"
MP3_SLACK = 2 * 1152
# Channels cancel out where their mean has less than this share of the energy that unrelated channels would leave.
CANCELLED = 0.1
UNSIGNED_MIDDLE = 128
AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        "aif aifc aiff au caf flac mp3 oga ogg opus rf64 sd2 snd sph voc w64 wav wave".split()
    )
)


class AudioError(KwsError):
    """A recording that cannot be used; the message names it."""


def read_audio(source: str | Path | BinaryIO, sample_rate: int) -> np.ndarray:
    """Read one clip of at most ten minutes; longer recordings go through `stream_audio`.

    Returns:
        float32 mono waveform `(T,)` at `sample_rate`; integer formats are scaled to ±1.

    Raises:
        AudioError: the source is missing, empty, no sound file, cut off, not finite, or too short
            or long.
    """
    # It would be waited for without end.
    if isinstance(source, (str, Path)) and Path(source).is_fifo():
        raise AudioError(f"{display_name(source)} is a pipe: expected a sound file")
    longest = int(LONGEST_CLIP_SECONDS * sample_rate)
    blocks, held_samples = [], 0
    for block in stream_audio(source, sample_rate):
        blocks.append(block)
        held_samples += len(block)
        if held_samples > longest:
            raise AudioError(
                f"{display_name(source)} is longer than {LONGEST_CLIP_SECONDS:.0f} s, the most a "
                "clip may last: cut it"
            )
    return np.concatenate(blocks)


def stream_audio(source: str | Path | BinaryIO, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the sound as consecutive blocks `(T,)` of float32 mono at `sample_rate`, in flat
    memory.

    Raises:
        AudioError: as `read_audio`; damage in the middle is met after the blocks before it.
    """
    with _opened(source) as sound:
        name = display_name(source)
        _check_header(sound, name)
        held_samples = 0
        for block in resample_blocks(_mono_blocks(sound, name), sound.samplerate, sample_rate):
            held_samples += len(block)
            yield block
    if held_samples == 0:
        raise AudioError(f"{name} has no samples: record it again")


def cut_windows(
    blocks: Iterable[np.ndarray], window_samples: int, hop_samples: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Cut consecutive blocks `(T,)` into overlapping windows: `(first sample, waveform
    (window_samples,))`.

    Every sample lies in a window: the last one ends with the sound, and a sound shorter than one
        window is padded.
    """
    if not 0 < hop_samples <= window_samples:
        raise KwsError(
            f"windows of {window_samples} samples need a hop of 1 to {window_samples} samples, got "
            f"{hop_samples}"
        )
    # `held` begins at sample `held_start`, where the latest window began; the next one begins at
    # `offset` in it.
    held, held_start, offset = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate((held, block))
        while offset + window_samples <= len(held):
            yield held_start + offset, held[offset : offset + window_samples]
            offset += hop_samples
        spent = max(offset - hop_samples, 0)
        held, held_start, offset = held[spent:], held_start + spent, offset - spent
    if offset == 0 and len(held) > 0:
        yield 0, fit_length(held, window_samples)
    elif len(held) > window_samples:
        yield held_start + len(held) - window_samples, held[-window_samples:]


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Waveform `(T,)` at another rate, float32."""
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate)


def resample_blocks(
    blocks: Iterable[np.ndarray], from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """The same for consecutive blocks; their concatenation equals `resample` of the whole."""
    if from_rate == to_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(from_rate, to_rate, num_channels=1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def fit_length(waveform: np.ndarray, clip_samples: int) -> np.ndarray:
    """Exactly `clip_samples`: zeros around a short clip, the loudest window of a long one."""
    missing = clip_samples - len(waveform)
    if missing >= 0:
        return np.pad(waveform, (missing // 2, missing - missing // 2))
    energy = np.concatenate(([0.0], np.cumsum(np.square(waveform, dtype=np.float64))))
    start = int(np.argmax(energy[clip_samples:] - energy[:-clip_samples]))
    return waveform[start : start + clip_samples]


def mono_waveform(samples: np.ndarray, sample_rate: int, name: str = "the array") -> np.ndarray:
    """Check samples held in memory and turn them into a float32 mono waveform `(T,)`.

    Args:
        samples: `(T,)` or `(T, C)`; floats within ±1, or 8-bit unsigned, 16- or 32-bit signed
            integers, which are scaled to ±1.
        sample_rate: of `samples`, Hz.

    Raises:
        AudioError: another type or shape, no samples, NaN, or values far beyond full scale.
    """
    _check_rate(sample_rate, name)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(
            f"{name} has shape {samples.shape}: expected (samples,) or (samples, channels)"
        )
    if samples.ndim > 1 and samples.shape[1] > samples.shape[0]:
        raise AudioError(
            f"{name} has more channels than samples, shape {samples.shape}: transpose it to "
            "(samples, channels)"
        )
    columns = samples.reshape(len(samples), -1)
    return _mixed(_to_float(columns, name), name)


def _to_float(samples: np.ndarray, name: str) -> np.ndarray:
    if np.issubdtype(samples.dtype, np.floating):
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - UNSIGNED_MIDDLE) / UNSIGNED_MIDDLE
    if samples.dtype in (np.int16, np.int32):
        return samples / -float(np.iinfo(samples.dtype).min)
    raise AudioError(
        f"{name} has type {samples.dtype}: expected floats within ±1, or int16, int32 or uint8"
    )


def _mixed(samples: np.ndarray, name: str) -> np.ndarray:
    """Mean over the channels of `(T, C)` as float32 `(T,)`, checked.

    Of channels that cancel out, such as those of a stereo recording with one wire swapped, it is the loudest one.
    """
    peak = np.maximum(samples.max(), -samples.min())
    if not np.isfinite(peak):
        raise AudioError(
            f"{name} contains NaN or infinite samples: repair or leave out this recording"
        )
    if peak > HIGHEST_PEAK:
        raise AudioError(
            f"{name} reaches {peak:.4g} where full scale is 1.0: if these are integers kept as "
            "floats, scale them"
        )
    # A product is many times faster than a mean along a short axis.
    channels = samples.shape[1]
    mean = (samples @ np.full(channels, 1 / channels, samples.dtype)).astype(np.float32)
    if channels > 1:
        energies = np.einsum("ij,ij->j", samples, samples)
        if np.dot(mean, mean) < CANCELLED * energies.sum() / channels**2:
            return samples[:, energies.argmax()].astype(np.float32)
    return mean


class _Sound(soundfile.SoundFile):
    """Read from front to back: soundfile would seek after each block, which a streamed FLAC cannot do.

    Attributes:
        slack: how many frames less than promised are no sign of damage.
    """

    slack = 0

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[_Sound]:
    """Open a path, or a binary stream from its start, whether it can seek or not."""
    with ExitStack() as stack:
        try:
            sound = _open(source, stack)
        except FileNotFoundError:
            raise AudioError(f"{display_name(source)} does not exist: check the name") from None
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{display_name(source)} is not a sound file that can be read: {_reason(error)}"
            ) from None
        except OSError as error:
            raise AudioError(f"{display_name(source)} cannot be opened: {error.strerror}") from None
        yield stack.enter_context(sound)


def _open(source: str | Path | BinaryIO, stack: ExitStack) -> _Sound:
    is_path = isinstance(source, (str, Path))
    if isinstance(source, (str, Path)):
        handle: IO[bytes] = stack.enter_context(Path(source).open("rb", buffering=0))
    else:
        handle = source
    if not handle.seekable():
        # libsndfile seeks while it reads the header; a pipe of any length goes through the disk.
        spool = stack.enter_context(tempfile.TemporaryFile())
        copyfileobj(handle, spool)
        handle = spool
    if handle.seek(0, SEEK_END) == 0:
        raise AudioError(f"{display_name(source)} is empty (0 bytes): expected a sound file")
    handle.seek(0)
    begins = handle.read(len(OGG_PAGE))
    if begins == b"RIFF" and (place := _unknown_length(handle)) is not None:
        handle = stack.enter_context(_with_length(handle, place))
        is_path = False
    if begins == OGG_PAGE and _ends_within_ogg_page(handle):
        raise AudioError(f"{display_name(source)} is cut off within its last page; copy it again")
    has_index = begins[:3] == b"ID3" or begins[:1] == MP3_FRAME
    has_index = has_index and _has_mp3_index(handle)
    handle.seek(0)
    # By descriptor: libsndfile then reads by itself, and a name that is not valid UTF-8 does not
    # matter.
    sound = _Sound(handle.fileno() if is_path else handle, closefd=not is_path)
    if sound.subtype.startswith("MPEG"):
        # Without an index the length is an estimate.
        sound.slack = MP3_SLACK if has_index else UNKNOWN_FRAMES
    return sound


def _unknown_length(handle: IO[bytes]) -> int | None:
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


def _with_length(handle: IO[bytes], place: int) -> IO[bytes]:
    """A copy of a WAV whose audio reaches from the header at `place` to the end."""
    copy = tempfile.TemporaryFile()
    handle.seek(0)
    copyfileobj(handle, copy)
    size = min(copy.tell() - place - CHUNK_HEADER.size, LARGEST_CHUNK)
    copy.seek(place)
    copy.write(CHUNK_HEADER.pack(b"data", size))
    return copy


def _ends_within_ogg_page(handle: IO[bytes]) -> bool:
    handle.seek(max(handle.seek(0, SEEK_END) - LONGEST_OGG_PAGE, 0))
    tail = handle.read()
    page = tail[tail.rfind(OGG_PAGE) :]
    # The last byte of the header is the number of parts, whose lengths follow.
    lengths = (
        page[OGG_HEADER : OGG_HEADER + page[OGG_HEADER - 1]] if len(page) >= OGG_HEADER else b""
    )
    return not lengths or len(page) < OGG_HEADER + len(lengths) + sum(lengths)


def _has_mp3_index(handle: IO[bytes]) -> bool:
    handle.seek(0)
    start = handle.read(ID3_HEADER)
    if start.startswith(b"ID3"):
        # The last four bytes are the length of the texts before the sound.
        size = sum(byte << ID3_BITS * i for i, byte in enumerate(reversed(start[-4:])))
        handle.seek(size, SEEK_CUR)
        start = b""
    start += handle.read(MP3_INDEX_WITHIN)
    return any(name in start for name in MP3_INDEXES)


def _check_header(sound: _Sound, name: str) -> None:
    _check_rate(sound.samplerate, name)
    for promised, present in SHORT_CHUNK.findall(sound.extra_info):
        if int(present) < int(promised) < UNKNOWN_BYTES:
            raise _cut_off(name, f"{promised} bytes of audio", present)
    for present, promised in SHORT_RF64.findall(sound.extra_info):
        if int(present) < int(promised):
            raise _cut_off(name, f"{promised} samples", present)


def _cut_off(name: str, promised: str, present: int | str) -> AudioError:
    return AudioError(
        f"{name} is cut off: its header promises {promised}, {present} are there; copy it again"
    )


def _check_rate(sample_rate: int, name: str) -> None:
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate} Hz: expected {LOWEST_RATE} to "
            f"{HIGHEST_RATE} Hz"
        )


def _mono_blocks(sound: _Sound, name: str) -> Iterator[np.ndarray]:
    block_frames = max(1, BLOCK_VALUES // sound.channels)
    frames_read = 0
    while True:
        try:
            block = sound.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name} is damaged after {frames_read / sound.samplerate:.2f} s: {_reason(error)}"
            ) from None
        if len(block) == 0:
            break
        frames_read += len(block)
        yield _mixed(block, name)
    if frames_read + sound.slack < sound.frames < UNKNOWN_FRAMES:
        raise _cut_off(name, f"{sound.frames} samples", frames_read)


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".")
