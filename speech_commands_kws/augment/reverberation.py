"""Reverberation in simulated rooms.

Legend: B batch, T samples, N room impulse responses.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from speech_commands_kws.audio.room_acoustics import convolve, room_responses
from speech_commands_kws.augment.primitives import random_integers
from speech_commands_kws.augment.subset import change_rows, random_rows
from speech_commands_kws.errors import check_number


class Reverberation(nn.Module):
    """A share of the clips is reverberated: convolved with one of N impulse responses of simulated rooms.

    Args:
        share: of the clips.
        rooms: the arguments of `room_acoustics.room_responses`.

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, rooms: Mapping[str, Any]):
        super().__init__()
        check_number(0, 1, share=share)
        self.share = share
        responses = torch.from_numpy(room_responses(**rooms)) if share else torch.zeros(0, 1)
        self.register_buffer("responses", responses, persistent=False)

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        if not len(rows):
            return waveform
        chosen = random_integers(0, len(self.responses) - 1, len(rows), generator)
        responses = self.responses[chosen]
        return change_rows(waveform, rows, lambda clips: convolve(clips, responses, torch.fft))
