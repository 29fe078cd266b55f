"""All clips of a folder, or recordings of any length, in one memory-mapped int16 file, made on first use.

Reading a small file costs more than copying it: packed, a batch is a few memory copies, and hours of sound need no
memory.
Legend: N clips, T samples of a clip.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech_commands_kws.audio.noise_recordings import read_recordings
from speech_commands_kws.audio.reading import fit_length, read_audio
from speech_commands_kws.audio.writing import INT16_SCALE, to_int16
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.speech_tree import audio_paths
from speech_commands_kws.errors import KwsError, display_name, summarize_error
from speech_commands_kws.files.whole_folder import make_whole
from speech_commands_kws.labels import SILENCE

FORMAT_VERSION = "3"
SILENT_ROW = -1  # stands for a clip of digital silence, which is not packed
CLIPS_FILE = "clips.int16"
NOISE_FILE = "noise.int16"
RECORDINGS_FILE = "recordings.int16"
INDEX_FILE = "index.json"
KEY_LENGTH = 16
READ_AHEAD = 256  # files decoded at a time: bounds the memory

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedClips:
    """A packed folder.

    Attributes:
        paths: N paths below the folder.
        clips: (N, T) int16 memory map.
        noises: one int16 memory map per background noise recording, by its path below its folder.
        left_out: what could not be used, one line each with the reason.
        longer: duration (seconds) of each recording that is cut to a clip, by its path.
        fingerprint: SHA-256 of names and samples: equal data have equal fingerprints on every machine.
    """

    paths: list[str]
    clips: np.ndarray
    noises: dict[str, np.ndarray]
    left_out: list[str]
    longer: dict[str, float]
    fingerprint: str

    @property
    def noise_waveforms(self) -> dict[str, np.ndarray]:
        """The background noises as float32 in [-1, 1]."""
        return {path: noise.astype(np.float32) / INT16_SCALE for path, noise in self.noises.items()}

    def waveforms(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), T) float32 waveforms in [-1, 1]."""
        return self.clips[rows].astype(np.float32) / INT16_SCALE


@dataclass(frozen=True)
class PackedRecordings:
    """Packed recordings of any length.

    Attributes:
        samples: int16 memory map, one recording after the other.
        lengths: of each of them (samples).
        fingerprint: SHA-256 of them.
    """

    samples: np.ndarray
    lengths: list[int]
    fingerprint: str


def pack_recordings(
    found: Mapping[Path, Sequence[Path]], cache: Path, sample_rate: int, seconds: float | None
) -> PackedRecordings:
    """Open the packed form of recordings, as of `read_recordings`; make it first where they are new or have changed."""
    paths = [path.absolute().as_posix() for paths in found.values() for path in paths]
    folder = cache / _tree_key(Path("/"), paths, sample_rate, seconds)
    if not folder.is_dir():
        LOG.info("packing %d recordings", len(paths))
        make_whole(folder, lambda part: _pack_recordings(found, part, sample_rate, seconds))
    with _opening(folder):
        index = json.loads((folder / INDEX_FILE).read_text())
        # Not read-only, of which no tensor can be made; what is written does not reach the file.
        length = sum(index["lengths"])
        samples = np.memmap(folder / RECORDINGS_FILE, np.int16, mode="c", shape=(length,))
        return PackedRecordings(samples, index["lengths"], index["fingerprint"])


def _pack_recordings(
    found: Mapping[Path, Sequence[Path]], folder: Path, sample_rate: int, seconds: float | None
) -> None:
    lengths, digest = [], hashlib.sha256()
    with (folder / RECORDINGS_FILE).open("wb") as stream:
        for _, waveform in read_recordings(found, sample_rate, seconds):
            samples = to_int16(waveform)
            lengths.append(len(samples))
            stream.write(samples.tobytes())
            digest.update(f"{len(samples)}\n".encode())
            digest.update(samples.tobytes())
    index = {"lengths": lengths, "fingerprint": digest.hexdigest()}
    (folder / INDEX_FILE).write_text(json.dumps(index))


@contextmanager
def _opening(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise KwsError(
            f"{folder} is damaged ({summarize_error(error)}): remove it, it is packed again"
        ) from error


def pack_folder(
    root: Path, pattern: str, cache: Path, sample_rate: int, clip_samples: int
) -> PackedClips:
    """Open the packed form of a folder; make it first where the folder is new or has changed.

    Short clips are centred in zeros, long ones cut to their loudest stretch. A file that is not audio, empty or
    silent, or has a name that is not UTF-8, is left out and named in the log.
    """
    clips, noises = audio_paths(root, pattern)
    folder = cache / _tree_key(root, clips + noises, sample_rate, clip_samples)
    if not folder.is_dir():
        make_whole(folder, lambda part: _pack(root, clips, noises, part, sample_rate, clip_samples))
    with _opening(folder):
        packed = _open(folder, clip_samples)
    for reason in packed.left_out:
        LOG.warning("left out: %s", reason)
    if packed.left_out:
        LOG.warning("%d of %d files were left out", len(packed.left_out), len(clips) + len(noises))
    return packed


def _tree_key(root: Path, paths: Sequence[str], sample_rate: int, length: float | None) -> str:
    digest = hashlib.sha256(f"{FORMAT_VERSION} {root.resolve()} {sample_rate} {length}".encode())
    for path in paths:
        try:
            status = (root / path).stat()
            state = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError as error:  # a link to nothing: it is left out when it is read
            state = type(error).__name__
        digest.update(f"{path}\0{state}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()[:KEY_LENGTH]


def _pack(
    root: Path,
    clips: list[str],
    noises: list[str],
    folder: Path,
    sample_rate: int,
    clip_samples: int,
) -> None:
    left_out: list[str] = []
    kept, kept_noises, noise_lengths = [], [], []
    longer: dict[str, float] = {}
    digest = hashlib.sha256()
    with (folder / CLIPS_FILE).open("wb") as stream:
        for path, waveform in _read_all(root, clips, sample_rate, left_out):
            samples = to_int16(fit_length(waveform, clip_samples))
            if not samples.any() and SILENCE not in Path(path).parts:
                left_out.append(f"{root / path}: expected speech, found silence; record it again")
                continue
            kept.append(path)
            if len(waveform) > clip_samples:
                longer[path] = len(waveform) / sample_rate
            stream.write(samples.tobytes())
            digest.update(path.encode())
            digest.update(samples.tobytes())
    with (folder / NOISE_FILE).open("wb") as stream:
        for path, waveform in _read_all(root, noises, sample_rate, left_out):
            samples = to_int16(waveform)
            kept_noises.append(path.partition("/")[2])
            noise_lengths.append(len(samples))
            stream.write(samples.tobytes())
            digest.update(samples.tobytes())
    if not kept:
        raise KwsError(
            f"expected recordings below {root}, none of {len(clips)} files is usable; first: {left_out[0]}"
        )
    index = {
        "paths": kept,
        "noise_paths": kept_noises,
        "noise_lengths": noise_lengths,
        "left_out": left_out,
        "longer": longer,
        "fingerprint": digest.hexdigest(),
    }
    (folder / INDEX_FILE).write_text(json.dumps(index))


def _read_all(
    root: Path, paths: list[str], sample_rate: int, left_out: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Readable recordings in order, decoded by a few threads; the others go to `left_out`."""

    def read(path: str) -> np.ndarray | KwsError:
        try:
            path.encode()
            return read_audio(root / path, sample_rate)
        except UnicodeEncodeError:  # neither a split list nor a log could hold it
            name = display_name(root / path)
            return KwsError(f"{name} has a name that is not UTF-8: rename it")
        except KwsError as error:
            return error

    with ThreadPoolExecutor() as pool:
        starts = range(0, len(paths), READ_AHEAD)
        for start in progress(starts, doing=f"packing {root.name}"):
            block = paths[start : start + READ_AHEAD]
            for path, waveform in zip(block, pool.map(read, block), strict=True):
                if isinstance(waveform, KwsError):
                    left_out.append(str(waveform))
                else:
                    yield path, waveform


def _open(folder: Path, clip_samples: int) -> PackedClips:
    index = json.loads((folder / INDEX_FILE).read_text())
    clips = np.memmap(folder / CLIPS_FILE, dtype=np.int16, mode="r")
    clips = clips.reshape(len(index["paths"]), clip_samples)
    lengths = index["noise_lengths"]
    noises = {}
    if lengths:
        noise = np.memmap(folder / NOISE_FILE, dtype=np.int16, mode="r")
        parts = np.split(noise, np.cumsum(lengths)[:-1])
        noises = dict(zip(index["noise_paths"], parts, strict=True))
    facts = (index[key] for key in ("left_out", "longer", "fingerprint"))
    return PackedClips(index["paths"], clips, noises, *facts)
