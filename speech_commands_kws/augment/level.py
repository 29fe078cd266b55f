"""Time shift, background noise and babble at a signal-to-noise ratio, and gain.

Legend: B batch, T samples.
"""

import torch
from torch import Generator, Tensor, nn

from speech_commands_kws.audio.levels import amplitude
from speech_commands_kws.augment.primitives import (
    amplitude_for_snr,
    random_excerpts,
    random_integers,
    random_shifts,
    shift,
)
from speech_commands_kws.augment.subset import change_rows, random_rows, uniform
from speech_commands_kws.errors import check_number, check_range, check_whole


class Shift(nn.Module):
    """A share of the clips is shifted by U(-shift_ms, shift_ms) and filled with zeros.

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, shift_ms: float, sample_rate: int):
        super().__init__()
        check_number(0, 1, share=share)
        check_number(0, shift_ms=shift_ms)
        self.share = share
        self.shift_samples = round(shift_ms * sample_rate / 1000)

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        shifts = random_shifts(waveform, self.shift_samples, generator)
        return shift(waveform, shifts * marked(len(waveform), self.share, generator))


class BackgroundNoise(nn.Module):
    """Excerpts of noise recordings under a share of the clips, at a ratio drawn for each.

    The ratio is that of the mean powers of the whole clip and the excerpt. Silence always gets noise, at an amplitude
    U(0, silence_amplitude) as in the recipe of BC-ResNet. A sum that leaves [-1, 1] is turned down, which keeps the
    ratio; the recipe clips it.

    Args:
        share: of the clips.
        snr_db: lowest and highest signal-to-noise ratio (decibel).
        silence_amplitude: largest factor on the noise that stands for silence.

    Shape: waveform (B, T), is_silence (B,) boolean to (B, T).
    """

    def __init__(self, share: float, snr_db: tuple[float, float], silence_amplitude: float):
        super().__init__()
        check_number(0, 1, share=share)
        check_range(snr_db=snr_db)
        check_number(0, silence_amplitude=silence_amplitude)
        self.share = share
        self.snr_db = snr_db
        self.silence_amplitude = silence_amplitude
        self.register_buffer("noise", torch.zeros(0), persistent=False)

    def set_noise(self, noise: Tensor) -> None:
        """Noise recordings one after another, (samples,)."""
        self.noise = noise

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        batch, samples = waveform.shape
        if len(self.noise) < samples:
            return waveform
        chosen = marked(batch, self.share, generator)[:, None]
        noise = random_excerpts(self.noise, batch, samples, generator)
        ratio = uniform(*self.snr_db, batch, generator)
        factor = amplitude_for_snr(waveform, noise, ratio) * chosen
        silence = uniform(0, self.silence_amplitude, batch, generator)
        factor = torch.where(is_silence[:, None], silence, factor)
        return within_range(torch.addcmul(waveform, noise, factor))


class Babble(nn.Module):
    """Other people talk under a share of the clips, one or several at once: other clips of the batch, played backwards.

    Backwards, speech keeps its spectrum and its syllables and says no word. The voices are equally loud, and the ratio
    is that of the mean powers of the whole clip and all of them. A sum that leaves [-1, 1] is turned down.

    Args:
        share: of the clips.
        voices: lowest and highest number at once.
        snr_db: lowest and highest signal-to-noise ratio (decibel).

    Shape: waveform (B, T), is_silence (B,) boolean to (B, T). Digital silence stays as it is.
    """

    def __init__(self, share: float, voices: tuple[int, int], snr_db: tuple[float, float]):
        super().__init__()
        check_number(0, 1, share=share)
        check_range(voices=voices, snr_db=snr_db)
        for count in voices:
            check_whole(voices=count)
        self.share = share
        self.voices = voices
        self.snr_db = snr_db

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        rows = random_rows(len(waveform), self.share, generator)
        talk = self.talk_for(waveform, rows, generator)
        ratio = uniform(*self.snr_db, len(rows), generator)

        def talk_over(clips: Tensor) -> Tensor:
            factor = amplitude_for_snr(clips, talk, ratio)
            return within_range(torch.addcmul(clips, talk, factor))

        return change_rows(waveform, rows, talk_over)

    def talk_for(self, waveform: Tensor, rows: Tensor, generator: Generator) -> Tensor:
        """(n, T) voices of other clips for n rows."""
        batch, samples = waveform.shape
        count = len(rows)
        low, high = self.voices
        back = -torch.arange(samples, device=waveform.device)
        talk = waveform.new_zeros(count, samples)
        for i in range(high):
            # Row j of the n, which are in random order, has low + j (high - low + 1) / n voices, rounded down.
            first = 0 if i < low else -(-count * (i + 1 - low) // (high - low + 1))
            if first == count:
                break
            n_rows = count - first
            distances = random_integers(1, max(batch - 1, 1), n_rows, generator)
            # From anywhere in the clip back to its beginning, and on from its end.
            places = back + random_integers(0, samples - 1, n_rows, generator)[:, None]
            voice = waveform[(rows[first:] + distances) % batch].gather(1, places % samples)
            power = voice.square().mean(1, keepdim=True).clamp(min=torch.finfo().tiny)
            talk[first:] += voice * power.rsqrt()
        return talk


class Gain(nn.Module):
    """A share of the clips is made louder or softer by U(gain_db) dB, never beyond full scale.

    Args:
        share: of the clips.
        gain_db: lowest and highest change (decibel).

    Shape: waveform (B, T) to the same.
    """

    def __init__(self, share: float, gain_db: tuple[float, float]):
        super().__init__()
        check_number(0, 1, share=share)
        check_range(gain_db=gain_db)
        self.share = share
        self.gain_db = gain_db

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        batch = len(waveform)
        gain_db = uniform(*self.gain_db, batch, generator)
        gain_db = gain_db * marked(batch, self.share, generator)[:, None]
        return within_range(waveform * amplitude(gain_db))


def marked(batch: int, share: float, generator: Generator) -> Tensor:
    """(batch,) boolean, true for a share of the rows."""
    flags = torch.zeros(batch, dtype=torch.bool, device=generator.device)
    return flags.index_fill(0, random_rows(batch, share, generator), True)


def within_range(waveform: Tensor) -> Tensor:
    """(B, T), each row turned down where its peak is above 1."""
    peak = torch.maximum(waveform.amax(1, keepdim=True), -waveform.amin(1, keepdim=True))
    return waveform / peak.clamp(min=1)
