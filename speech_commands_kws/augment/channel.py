"""Distortions of a phone line, a converter or a codec.

Legend: B batch, T samples.
"""

import torch
from torch import Generator, Tensor, nn

from speech_commands_kws.augment.subset import change_rows, random_rows, uniform
from speech_commands_kws.errors import SettingError, check_number, check_range

MU = 255  # of ITU-T G.711


class BandLimit(nn.Module):
    """A share of the clips passes a band limit: a high-pass and a low-pass filter.

    Both cuts have the slope of a Butterworth filter, without its phase; they are drawn for each clip, their logarithms
    uniformly.

    Args:
        share: of the clips.
        low_hz: range of the lower corner (Hz).
        high_hz: range of the upper corner (Hz).
        order: of the slopes (6 decibel an octave each).
        sample_rate: of the waveforms (Hz).

    Shape: waveform (B, T) to the same.
    """

    def __init__(
        self,
        share: float,
        low_hz: tuple[float, float],
        high_hz: tuple[float, float],
        order: int,
        sample_rate: int,
    ):
        super().__init__()
        check_number(0, 1, share=share)
        check_range(1, low_hz=low_hz, high_hz=high_hz)
        if low_hz[1] >= high_hz[0]:
            raise SettingError(f"low_hz must lie below high_hz={high_hz}, got {low_hz}")
        self.share = share
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.order = order
        self.sample_rate = sample_rate

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        low = log_uniform(self.low_hz, len(rows), generator)
        high = log_uniform(self.high_hz, len(rows), generator)
        return change_rows(
            waveform,
            rows,
            lambda clips: band_limit(clips, low, high, self.order, self.sample_rate),
        )


class MuLaw(nn.Module):
    """A share of the clips is quantised to 8 bits like a telephone line, by mu-law of ITU-T G.711.

    Shape: waveform (B, T) in [-1, 1] to the same.
    """

    def __init__(self, share: float):
        super().__init__()
        check_number(0, 1, share=share)
        self.share = share

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        return change_rows(waveform, random_rows(len(waveform), self.share, generator), mu_law)


class BitDepth(nn.Module):
    """A share of the clips is reduced to fewer bits per sample.

    Args:
        share: of the clips.
        bits: fewest and most, drawn for each clip; not necessarily whole.

    Shape: waveform (B, T) in [-1, 1] to the same.
    """

    def __init__(self, share: float, bits: tuple[float, float]):
        super().__init__()
        check_number(0, 1, share=share)
        check_range(1, bits=bits)
        self.share = share
        self.bits = bits

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        bits = uniform(*self.bits, len(rows), generator)
        return change_rows(waveform, rows, lambda clips: fewer_bits(clips, bits))


def band_limit(waveform: Tensor, low: Tensor, high: Tensor, order: int, sample_rate: int) -> Tensor:
    """(B, T) without what lies below `low` and above `high`, (B, 1) in Hz, where power is halved."""
    samples = waveform.shape[1]
    frequency = torch.fft.rfftfreq(samples, 1 / sample_rate, device=waveform.device)
    slope = 2 * order
    below = 1 + (low / frequency.clamp(min=1)).pow(slope)
    above = 1 + (frequency / high).pow(slope)
    mask = (below * above).rsqrt()
    return torch.fft.irfft(torch.fft.rfft(waveform) * mask, n=samples)


def mu_law(waveform: Tensor) -> Tensor:
    """Companded, rounded to 8 bits and expanded again."""
    top = torch.log1p(torch.tensor(float(MU)))
    levels = (MU + 1) // 2 - 1
    companded = torch.log1p(MU * waveform.abs()).div_(top).mul_(levels).round_().div_(levels)
    return companded.mul_(top).expm1_().div_(MU).copysign_(waveform)


def fewer_bits(waveform: Tensor, bits: Tensor) -> Tensor:
    """(B, T) rounded to 2^bits steps from -1 to 1, bits (B, 1)."""
    steps = torch.pow(2, bits - 1)
    return (waveform * steps).round_().div_(steps)


def log_uniform(limits: tuple[float, float], count: int, generator: Generator) -> Tensor:
    """(count, 1) numbers whose logarithms are uniform between those of the limits."""
    low, high = torch.tensor(limits).log().tolist()
    return uniform(low, high, count, generator).exp()
