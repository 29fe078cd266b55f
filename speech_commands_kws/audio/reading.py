"""Sound of any format, rate and channel count as float32 mono at one rate: a whole clip, or a
stream of blocks.

Shapes: `T` samples, `C` channels.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import SEEK_END, FileIO
from pathlib import Path
from shutil import copyfileobj
from typing import IO, BinaryIO

import numpy as np
import soundfile
import soxr

from speech_commands_kws.audio.containers import (
    FarEnd,
    cut_off,
    has_mp3_index,
    header_fault,
    ogg_fault,
    unknown_length,
    with_length,
)
from speech_commands_kws.errors import KwsError, display_name

__all__ = ["read_audio", "stream_audio", "mono_waveform", "fit_length", "AudioError"]

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
# What promises as many samples, or more, promises nothing.
UNKNOWN_FRAMES = 2**45
# What decoders make of the length of an MP3 differs by up to two frames.
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

    A file of several channels is read twice, first to know how to mix them.

    Raises:
        AudioError: as `read_audio`; damage in the middle of one channel is met after the blocks before it.
    """
    name = display_name(source)
    with ExitStack() as stack:
        handle = _opened(source, name, stack)
        sound = stack.enter_context(_sound(handle, name))
        weights = np.ones(1, np.float32)
        if sound.channels > 1:
            weights = _mixing_weights(_blocks(sound, name))
            sound = stack.enter_context(_sound(handle, name))
        waveforms = (block @ weights for block in _blocks(sound, name))
        held_samples = 0
        for block in resample_blocks(waveforms, sound.samplerate, sample_rate):
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
    convert = resampler(from_rate, to_rate)
    for block in blocks:
        yield convert(block)
    yield convert(np.zeros(0, np.float32), last=True)


def resampler(from_rate: int, to_rate: int) -> Callable[..., np.ndarray]:
    """Called with consecutive blocks (T,), `last` at the end of the stream, it gives what is converted by then."""
    if from_rate == to_rate:
        return lambda block, last=False: block
    return soxr.ResampleStream(from_rate, to_rate, num_channels=1, dtype="float32").resample_chunk


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
    check_rate(sample_rate, name)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(
            f"{name} has shape {samples.shape}: expected (samples,) or (samples, channels)"
        )
    if samples.ndim > 1 and samples.shape[1] > samples.shape[0]:
        raise AudioError(
            f"{name} has more channels than samples, shape {samples.shape}: transpose it to "
            "(samples, channels)"
        )
    columns = to_float(samples.reshape(len(samples), -1), name)
    _check_values(columns, name)
    columns = columns.astype(np.float32)
    return columns @ _mixing_weights([columns])


def to_float(samples: np.ndarray, name: str) -> np.ndarray:
    if np.issubdtype(samples.dtype, np.floating):
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - UNSIGNED_MIDDLE) / UNSIGNED_MIDDLE
    if samples.dtype in (np.int16, np.int32):
        return samples / -float(np.iinfo(samples.dtype).min)
    raise AudioError(
        f"{name} has type {samples.dtype}: expected floats within ±1, or int16, int32 or uint8"
    )


def _check_values(samples: np.ndarray, name: str) -> None:
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


def _mixing_weights(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Factors `(C,)` of the channels of a whole recording, float32 blocks `(T, C)`, for their mean.

    Of channels that cancel out, such as those of a stereo recording with one wire swapped, the loudest one is taken.
    """
    mean, energies, energy_of_mean = np.ones(1, np.float32), np.zeros(1), 0.0
    for block in blocks:
        channels = block.shape[1]
        # A product is many times faster than a mean along a short axis.
        mean = np.full(channels, 1 / channels, np.float32)
        mixed = block @ mean
        energies = energies + np.einsum("ij,ij->j", block, block)
        energy_of_mean += np.dot(mixed, mixed)
    if energy_of_mean < CANCELLED * energies.sum() / len(mean) ** 2:
        return np.eye(len(mean), dtype=np.float32)[energies.argmax()]
    return mean


class _Sound(soundfile.SoundFile):
    """Read from front to back: soundfile would seek after each block, which a streamed FLAC cannot do.

    Attributes:
        slack: how many frames less than promised are no sign of damage.
    """

    slack = 0

    def seekable(self) -> bool:
        return False


def _opened(source: str | Path | BinaryIO, name: str, stack: ExitStack) -> IO[bytes]:
    """A path, or a binary stream from its start, as a file that can seek and is whole."""
    try:
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
            raise AudioError(f"{name} is empty (0 bytes): expected a sound file")
        if fault := ogg_fault(handle):
            raise AudioError(f"{name} {fault}")
        if (place := unknown_length(handle)) is not None:
            handle = stack.enter_context(with_length(handle, place))
        return handle
    except FileNotFoundError:
        raise AudioError(f"{name} does not exist: check the name") from None
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}") from None


def _sound(handle: IO[bytes], name: str) -> _Sound:
    # By descriptor: libsndfile then reads by itself, and a name that is not valid UTF-8 does not
    # matter.
    file = handle.fileno() if isinstance(handle, FileIO) else handle
    try:
        has_index = has_mp3_index(handle)
        handle.seek(0)
        sound = _Sound(file, closefd=False)
        if sound.format == "MP3" and not has_index:
            handle.seek(0)
            sound = _Sound(FarEnd(handle))
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name} is not a sound file that can be read: {_reason(error)}") from None
    if sound.subtype.startswith("MPEG"):
        # In a WAV there need not be an index.
        sound.slack = MP3_SLACK if sound.format == "MP3" else UNKNOWN_FRAMES
    check_rate(sound.samplerate, name)
    if fault := header_fault(sound):
        raise AudioError(f"{name} {fault}")
    return sound


def check_rate(sample_rate: int, name: str) -> None:
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate} Hz: expected {LOWEST_RATE} to "
            f"{HIGHEST_RATE} Hz"
        )


def _blocks(sound: _Sound, name: str) -> Iterator[np.ndarray]:
    """Blocks `(T, C)`, checked."""
    block_frames = max(1, BLOCK_VALUES // sound.channels)
    frames_read = 0
    while True:
        try:
            block = sound.read(block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name} is damaged or cut off after {frames_read / sound.samplerate:.2f} s "
                f"({_reason(error)}): copy it again"
            ) from None
        if len(block) == 0:
            break
        frames_read += len(block)
        _check_values(block, name)
        yield block
    if frames_read + sound.slack < sound.frames < UNKNOWN_FRAMES:
        raise AudioError(f"{name} {cut_off(f'{sound.frames} samples', frames_read)}")


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".")
