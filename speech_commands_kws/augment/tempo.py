"""Speed and pitch, with one factor per group of clips.

Clips that share a factor are computed at once, with exact band-limited resampling by FFT: the spectrum of T samples is
read back at another length. Legend: B batch, T samples, F frames.
"""

from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from speech_commands_kws.augment.subset import change_groups, random_rows
from speech_commands_kws.errors import check_number, check_positive

TINY = 1e-12
HOPS_PER_WINDOW = 4  # overlap that lets a Hann window be undone
SEMITONES_PER_OCTAVE = 12
LARGEST_FACTOR = 7  # of a length


class Speed(nn.Module):
    """A share of the clips is played faster or slower, which moves tempo and pitch together (Ko et al. 2015).

    The middle of the clip stays where it is: a slower clip loses its edges, a faster one gets zeros there.

    Args:
        share: of the clips; dealt out evenly among the factors.
        factors: of speed; above 1 is faster and higher.

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, factors: Sequence[float]):
        super().__init__()
        check_number(0, 1, share=share)
        for factor in factors:
            check_positive(factors=factor)
        self.share = share
        self.factors = factors

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        return change_groups(
            waveform, rows, [partial(change_speed, factor=factor) for factor in self.factors]
        )


class Pitch(nn.Module):
    """A share of the clips is spoken higher or lower at the same tempo.

    Stretched by a phase vocoder (Flanagan and Golden 1966), then played faster or slower by as much.

    Args:
        share: of the clips; dealt out evenly among the steps.
        semitones: steps up (positive) or down.
        window_samples: of the phase vocoder.

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, semitones: Sequence[float], window_samples: int):
        super().__init__()
        check_number(0, 1, share=share)
        self.share = share
        self.semitones = semitones
        self.register_buffer("window", torch.hann_window(window_samples), persistent=False)

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        factors = [2 ** (step / SEMITONES_PER_OCTAVE) for step in self.semitones]
        return change_groups(
            waveform,
            rows,
            [partial(change_pitch, factor=factor, window=self.window) for factor in factors],
        )


def change_speed(waveform: Tensor, factor: float) -> Tensor:
    """(B, T) played `factor` times as fast, to (B, T) around the same middle."""
    samples = waveform.shape[1]
    return fit_middle(resample(waveform, nice_length(samples / factor)), samples)


def change_pitch(waveform: Tensor, factor: float, window: Tensor) -> Tensor:
    """(B, T) with all frequencies `factor` times as high, at the same tempo.

    Args:
        window: of the phase vocoder (samples).
    """
    samples = waveform.shape[1]
    return resample(stretch(waveform, nice_length(samples * factor), window), samples)


def resample(waveform: Tensor, length: int) -> Tensor:
    """(B, T) to (B, length) over the same time, by reading its spectrum at another length."""
    scale = length / waveform.shape[1]
    return torch.fft.irfft(torch.fft.rfft(waveform)[:, : length // 2 + 1], n=length) * scale


def stretch(waveform: Tensor, length: int, window: Tensor) -> Tensor:
    """(B, T) to (B, length) of the same pitch at another tempo, by a phase vocoder.

    Between two frames of analysis the magnitude is interpolated, and the phase turns from frame to frame by what it
    turned between those two. Turns are complex numbers of length 1 that are multiplied up: no angle is ever computed.
    """
    size = len(window)
    hop = size // HOPS_PER_WINDOW
    options = {"n_fft": size, "hop_length": hop, "window": window}
    spectrum = torch.stft(waveform, **options, return_complex=True)  # (B, size / 2 + 1, F)
    spectrum = functional.pad(spectrum, (0, 1))
    places = torch.arange(1 + length // hop, device=waveform.device) * (waveform.shape[1] / length)
    before = places.long()
    magnitude, turns = spectrum.abs(), spectrum[..., 1:] * spectrum[..., :-1].conj()
    magnitude = torch.lerp(magnitude[..., before], magnitude[..., before + 1], places - before)
    turns = torch.cat([unit(spectrum[..., :1]), unit(turns)[..., before[:-1]]], dim=2)
    return torch.istft(magnitude * turns.cumprod(2), **options, length=length)


def unit(values: Tensor) -> Tensor:
    """Complex values at the length 1; zero becomes 1."""
    length = values.abs()
    return torch.where(length > TINY, values / length.clamp(min=TINY), 1)


def fit_middle(waveform: Tensor, samples: int) -> Tensor:
    """(B, n) cut or padded with zeros on both sides to (B, samples)."""
    missing = samples - waveform.shape[1]
    return functional.pad(waveform, (missing // 2, missing - missing // 2))


@cache
def nice_length(samples: float) -> int:
    """The nearest even length with small prime factors alone, for which the FFT is fast; at most a percent away."""
    near = round(samples / 2)
    return 2 * next(
        half for i in range(near) for half in (near + i, near - i) if has_small_factors(half)
    )


def has_small_factors(number: int) -> bool:
    for factor in range(2, LARGEST_FACTOR + 1):
        while number % factor == 0:
            number //= factor
    return number == 1
