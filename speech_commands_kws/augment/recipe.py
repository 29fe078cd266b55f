"""Shift, background noise and SpecAugment as in the recipe of BC-ResNet, and no augmentation.

Each module takes the random generator as an argument. Legend: B batch, T samples, M mel bins, F frames.
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn

from speech_commands_kws.augment.primitives import (
    amplitude_for_snr,
    by_width,
    random_bars,
    random_excerpts,
    random_shifts,
    shift,
)
from speech_commands_kws.errors import KwsError, check_number, check_range, check_whole


class ShiftAndNoise(nn.Module):
    """Time shift and background noise, as in the recipe of BC-ResNet (arXiv 2106.04140).

    A clip is augmented with a probability, silence always: shifted by U(-shift_ms, shift_ms) with zeros moving in, and
    mixed with a random excerpt of the noise recordings at an amplitude U(0, noise_amplitude), for silence
    U(0, silence_amplitude). With `noise_snr_db` the noise of speech is scaled to a signal-to-noise ratio from that
    range (decibel) instead. The sum is clamped to [-1, 1].

    Args:
        probability: of augmenting a clip that is not silence.
        shift_ms: largest shift (milliseconds).
        noise_amplitude, silence_amplitude: largest factors on the noise.
        noise_snr_db: lowest and highest ratio (decibel), or None.
        sample_rate: of the waveforms (Hz).

    Shape: waveform (B, T), is_silence (B,) boolean to (B, T).
    """

    def __init__(
        self,
        probability: float,
        shift_ms: float,
        noise_amplitude: float,
        silence_amplitude: float,
        noise_snr_db: tuple[float, float] | None,
        sample_rate: int,
    ):
        super().__init__()
        check_number(0, 1, probability=probability)
        check_number(
            0,
            shift_ms=shift_ms,
            noise_amplitude=noise_amplitude,
            silence_amplitude=silence_amplitude,
        )
        if noise_snr_db is not None:
            check_range(noise_snr_db=noise_snr_db)
        self.probability = probability
        self.shift_samples = round(shift_ms * sample_rate / 1000)
        self.noise_amplitude = noise_amplitude
        self.silence_amplitude = silence_amplitude
        self.noise_snr_db = noise_snr_db
        self.register_buffer("noise", torch.zeros(0), persistent=False)

    def set_noise(self, noise: Tensor) -> None:
        """Noise recordings one after another, (samples,)."""
        self.noise = noise

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        batch, samples = waveform.shape
        chosen = torch.rand(batch, generator=generator, device=waveform.device) < self.probability
        chosen = chosen | is_silence
        shifts = random_shifts(waveform, self.shift_samples, generator)
        shifted = shift(waveform, torch.where(chosen, shifts, 0))
        if len(self.noise) < samples:
            return shifted
        noise = random_excerpts(self.noise, batch, samples, generator)
        level = torch.rand(batch, 1, generator=generator, device=waveform.device)
        amplitude = level * self.noise_amplitude
        if self.noise_snr_db is not None:
            low, high = self.noise_snr_db
            amplitude = amplitude_for_snr(shifted, noise, low + (high - low) * level)
        amplitude = torch.where(is_silence[:, None], level * self.silence_amplitude, amplitude)
        return torch.addcmul(shifted, noise, amplitude * chosen[:, None]).clamp_(-1, 1)


class SpecAugment(nn.Module):
    """Random bars of time and frequency set to zero (Park et al., arXiv 1904.08779).

    Wider models take wider frequency bars: the recipe of BC-ResNet grows them with its width and leaves SpecAugment
    out at width 1.

    Args:
        time_masks, time_width: number of bars and their largest width (frames).
        frequency_masks: number of bars.
        frequency_width: largest width (mel bins) by the width of the model: the entry of the largest key that is not
            above `model_width`; zero leaves the whole of SpecAugment out.
        model_width: width of the backbone.

    Shape: (B, 1, M, F) log-mel to the same.
    """

    def __init__(
        self,
        time_masks: int,
        time_width: int,
        frequency_masks: int,
        frequency_width: Mapping[float, int],
        model_width: float,
    ):
        super().__init__()
        check_whole(0, time_masks=time_masks, time_width=time_width)
        check_whole(0, frequency_masks=frequency_masks)
        self.time_masks = time_masks
        self.time_width = time_width
        self.frequency_masks = frequency_masks
        self.frequency_width = by_width(frequency_width, model_width)
        check_whole(0, frequency_width=self.frequency_width)

    def forward(self, log_mel: Tensor, generator: Generator) -> Tensor:
        if not self.frequency_width:
            return log_mel
        batch, _, mels, frames = log_mel.shape
        if self.time_width > frames or self.frequency_width > mels:
            raise KwsError(
                f"expected bars of SpecAugment within an image of {mels} mel bins and {frames} frames, got up to "
                f"{self.frequency_width} and {self.time_width}: lower augment.spectrogram.frequency_width or time_width"
            )
        hidden_mels = random_bars(
            self.frequency_masks, self.frequency_width, batch, mels, generator
        )
        hidden_frames = random_bars(self.time_masks, self.time_width, batch, frames, generator)
        return log_mel.masked_fill(
            (hidden_mels[:, :, None] | hidden_frames[:, None, :])[:, None], 0
        )


class NoWaveformAugment(nn.Module):
    """Leaves waveforms as they are."""

    def set_noise(self, noise: Tensor) -> None:
        pass

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        return waveform


class NoSpectrogramAugment(nn.Module):
    """Leaves log-mel images as they are."""

    def forward(self, log_mel: Tensor, generator: Generator) -> Tensor:
        return log_mel
