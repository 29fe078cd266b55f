"""The input of a training step: clips read from the memory map, or rows of clips kept on the device.

Legend: N clips, B batch, T samples of a clip, D features. Row -1 stands for a clip of digital silence.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.data.packed import SILENT_ROW, PackedClips

CLIPS_AT_ONCE = 4096
# Of the GPU's free memory; the rest is for the training.
LARGEST_SHARE = 0.5


class TrainingRows(Dataset):
    """Indexed by an array of rows at once: (B,) to (B,) rows, (B,) targets and, where there are any, (B, D) features.

    Args:
        target_of_row: of each of the N clips.
        silence_target: of the row -1.
        features: (N, D) of a teacher, or None. NaN stands for none of a clip, such as the row -1.
    """

    def __init__(
        self, target_of_row: np.ndarray, silence_target: int, features: Tensor | None = None
    ):
        # The row -1 is the last one.
        self.targets = np.append(target_of_row, silence_target)
        self.features = features
        if features is not None:
            self.features = functional.pad(features, (0, 0, 0, 1), value=torch.nan)

    def __getitem__(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        taught = () if self.features is None else (self.features[rows],)
        return self.clips(rows), torch.from_numpy(self.targets[rows]), *taught

    def clips(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows)


class TrainingClips(TrainingRows):
    """The same with (B, T) int16 clips in place of the rows."""

    def __init__(self, packed: PackedClips, *args: Any):
        super().__init__(*args)
        self.packed = packed

    def clips(self, rows: np.ndarray) -> Tensor:
        clips = self.packed.clips[rows]
        clips[rows == SILENT_ROW] = 0
        return torch.from_numpy(clips)


class ResidentClips:
    """All clips in the memory of the training device, so that a step never waits for the host: int16 (N + 1, T).

    The last row is digital silence, so that the row -1 stands for it.
    """

    def __init__(self, packed: PackedClips, device: torch.device):
        count, samples = packed.clips.shape
        self.clips = torch.zeros(count + 1, samples, dtype=torch.int16, device=device)
        for start in range(0, count, CLIPS_AT_ONCE):
            part = torch.tensor(packed.clips[start : start + CLIPS_AT_ONCE])
            self.clips[start : start + len(part)] = part.to(device)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows (B,) on the device to int16 clips (B, T)."""
        return self.clips[rows]


def as_waveforms(clips: Tensor) -> Tensor:
    """int16 clips (B, T) to float32 waveforms in [-1, 1], on their device."""
    return clips.float().div_(INT16_SCALE)


def fits(packed: PackedClips, device: torch.device) -> bool:
    """Whether the device is a GPU with enough free memory for the clips; others read the memory map."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return packed.clips.nbytes < LARGEST_SHARE * free
