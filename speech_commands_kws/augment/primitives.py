"""Random draws and formulas that several effects share.

Legend: B batch, T samples.
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional

from speech_commands_kws.audio import levels
from speech_commands_kws.errors import KwsError


def by_width(table: Mapping[float, float], model_width: float) -> float:
    """The entry of the largest key that is not above `model_width`; zero where there is none."""
    fitting = [key for key in table if float(key) <= model_width]
    return table[max(fitting, key=float)] if fitting else 0


def random_shifts(waveform: Tensor, reach: int, generator: Generator) -> Tensor:
    """(B,) shifts of the (B, T) waveforms, from -reach to reach samples.

    Raises:
        KwsError: some would leave nothing of a clip.
    """
    batch, samples = waveform.shape
    if reach >= samples:
        raise KwsError(
            f"expected shifts of less than a clip of {samples} samples, got up to {reach}: lower shift_ms"
        )
    return random_integers(-reach, reach, batch, generator)


def shift(waveform: Tensor, shifts: Tensor) -> Tensor:
    """Delay each (B, T) waveform by its number of samples in (B,), filled with zeros."""
    reach = int(shifts.abs().max())
    padded = functional.pad(waveform, (reach, reach))
    rows = torch.arange(len(waveform), device=waveform.device)
    return padded.unfold(1, waveform.shape[1], 1)[rows, reach - shifts]


def random_excerpts(noise: Tensor, count: int, samples: int, generator: Generator) -> Tensor:
    """(count, samples) excerpts of (n,) noise."""
    return noise.unfold(0, samples, 1)[random_integers(0, len(noise) - samples, count, generator)]


def amplitude_for_snr(signal: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """(B, 1) factor on the (B, T) noise that makes the ratio of mean powers `snr_db`; zero where noise is silent."""
    powers = [part.square().mean(1, keepdim=True) for part in (signal, noise)]
    return levels.amplitude_for_snr(*powers, snr_db)


def random_bars(count: int, width: int, batch: int, length: int, generator: Generator) -> Tensor:
    """(B, length) boolean: true inside `count` bars of width U{0..width} at uniform places."""
    device = generator.device
    widths = torch.randint(0, width + 1, (batch, count, 1), generator=generator, device=device)
    places = torch.rand(batch, count, 1, generator=generator, device=device)
    starts = (places * (length - widths + 1)).long()
    positions = torch.arange(length, device=device)
    return ((positions >= starts) & (positions < starts + widths)).any(1)


def random_integers(low: int, high: int, count: int, generator: Generator) -> Tensor:
    """(count,) integers from low to high, both included."""
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)
