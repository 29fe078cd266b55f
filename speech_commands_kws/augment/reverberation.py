"""Rooms around the speaker.

Legend: B batch, T samples, R samples of a response, N responses.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from speech_commands_kws.audio.room_acoustics import room_responses
from speech_commands_kws.augment.recipe import random_integers
from speech_commands_kws.augment.subset import change_rows, random_rows


class Reverberation(nn.Module):
    """A share of the clips sounds as in a room: convolved with one of N responses of simulated rooms.

    Args:
        share: of the clips.
        rooms: the arguments of `rooms.room_responses`.

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, rooms: Mapping[str, Any]):
        super().__init__()
        self.share = share
        responses = torch.from_numpy(room_responses(**rooms)) if share else torch.zeros(0, 1)
        self.register_buffer("responses", responses, persistent=False)

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        if not len(rows):
            return waveform
        chosen = random_integers(0, len(self.responses) - 1, len(rows), generator)
        return change_rows(waveform, rows, lambda clips: convolve(clips, self.responses[chosen]))


def convolve(waveform: Tensor, response: Tensor) -> Tensor:
    """The first T samples of the convolution of each (B, T) with its (B, R)."""
    samples = waveform.shape[1]
    length = samples + response.shape[1]
    spectrum = torch.fft.rfft(waveform, n=length) * torch.fft.rfft(response, n=length)
    return torch.fft.irfft(spectrum, n=length)[:, :samples]
