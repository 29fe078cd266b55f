"""Log-mel front-end, part of the model: the one definition of the signal path from waveform to features.

Legend: B batch, T samples, F frames, H hops, W window samples, N DFT bins kept, M mel bins.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

MILLISECONDS = 1000
CLIPS_IN_CACHE = 4


class LogMel(nn.Module):
    """Waveform to log-mel energies with real matrix products only, so that it exports to any engine.

    Equals `log(torchaudio.transforms.MelSpectrogram(center=True, power=2) + log_floor)` with a periodic Hann window,
    HTK mel scale and no filter normalisation. The DFT is folded about the centre of the window: the sum of the two
    halves meets the cosine matrix, their difference the sine matrix, which halves the work (the phase that this
    removes does not matter to the power). Bins that no mel filter looks at are left out.

    Args:
        sample_rate: samples per second (Hz).
        window_ms, hop_ms: analysis window and hop (milliseconds).
        n_fft: DFT length (samples), at least the window.
        n_mels: number of mel bins M.
        f_min, f_max: edges of the mel filter bank (Hz).
        log_floor: added before the logarithm; 1e-6 is safe in half precision.

    Shape:
        input: (B, T) waveform in [-1, 1]; output: (B, 1, M, F) with F = T // hop + 1.
    """

    def __init__(
        self,
        sample_rate: int,
        window_ms: float,
        hop_ms: float,
        n_fft: int,
        n_mels: int,
        f_min: float,
        f_max: float,
        log_floor: float,
    ):
        super().__init__()
        self.window_samples = round(sample_rate * window_ms / MILLISECONDS)
        self.hop_samples = round(sample_rate * hop_ms / MILLISECONDS)
        if self.window_samples % 2 or self.window_samples > n_fft:
            raise ValueError(
                f"expected an even window of at most n_fft={n_fft} samples, got {self.window_samples}; "
                f"change window_ms or n_fft"
            )
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ValueError(
                f"expected 0 <= f_min < f_max <= {sample_rate / 2} Hz, got {f_min} and {f_max}"
            )
        self.n_mels, self.n_fft = n_mels, n_fft
        self.log_floor = log_floor
        # Frames are built from pieces of this many samples: no gather, only reshapes and slices.
        self.piece_samples = math.gcd(self.window_samples, self.hop_samples)

        mel_bank = melscale_fbanks(
            n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate
        )  # (n_fft / 2 + 1, M)
        kept_bins = mel_bank.sum(dim=1).nonzero().squeeze(1)
        cosines, sines = folded_dft(self.window_samples, n_fft, kept_bins)
        self.register_buffer("cosines", cosines, persistent=False)  # (W / 2, N)
        self.register_buffer("sines", sines, persistent=False)  # (W / 2, N)
        self.register_buffer("mel_bank", mel_bank[kept_bins], persistent=False)  # (N, M)
        self.register_buffer("full_bank", mel_bank, persistent=False)
        window = torch.hann_window(self.window_samples, periodic=True)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            return self.log_mel(self.frame(waveform.float()))

    @torch.no_grad()
    def by_fft(self, waveform: Tensor) -> Tensor:
        """The same to rounding, for training: an FFT is faster on large batches, but not every engine has one.

        A few clips at a time, so that their spectra stay in the processor's cache. The squares of real and imaginary
        parts, side by side, meet each mel weight twice; so their sum is never formed.
        """
        half = self.window_samples // 2
        bank = self.full_bank.repeat_interleave(2, dim=0)  # (2 (n_fft / 2 + 1), M)
        with torch.autocast(waveform.device.type, enabled=False):
            padded = functional.pad(waveform.float(), (half, half), mode="reflect")
            frames = padded.unfold(1, self.window_samples, self.hop_samples)
            parts = []
            for part in frames.split(CLIPS_IN_CACHE):
                spectrum = torch.fft.rfft(part * self.window, n=self.n_fft)
                power = torch.view_as_real(spectrum).flatten(-2).square_()
                parts.append((power @ bank).add_(self.log_floor).log_())
        return torch.cat(parts).transpose(1, 2).unsqueeze(1)

    def log_mel(self, frames: Tensor) -> Tensor:
        """(B, F, W) frames to (B, 1, M, F) log-mel."""
        half = self.window_samples // 2
        later = frames[..., half:]  # samples 0 .. W/2 - 1 counted from the centre
        earlier = frames[..., 1 : half + 1].flip(-1)  # samples 0 .. -(W/2 - 1)
        real = (later + earlier) @ self.cosines
        imaginary = (later - earlier) @ self.sines
        mel = (real.square() + imaginary.square()) @ self.mel_bank
        return torch.log(mel + self.log_floor).transpose(1, 2).unsqueeze(1)

    def multiply_adds(self, n_frames: int) -> int:
        """Multiply-adds of the matrix products for a number of frames."""
        return n_frames * (self.cosines.numel() + self.sines.numel() + self.mel_bank.numel())

    def frame(self, waveform: Tensor) -> Tensor:
        """(B, T) waveform to (B, F, W) frames centred on multiples of the hop, edges reflected."""
        n_frames = waveform.shape[-1] // self.hop_samples + 1
        half = self.window_samples // 2
        padded = functional.pad(waveform, (half, half), mode="reflect")
        step = self.hop_samples // self.piece_samples
        n_pieces = self.window_samples // self.piece_samples
        used = (step * (n_frames - 1) + n_pieces) * self.piece_samples
        pieces = padded[:, :used].reshape(waveform.shape[0], -1, self.piece_samples)
        last = step * (n_frames - 1) + 1
        return torch.cat([pieces[:, i : i + last : step] for i in range(n_pieces)], dim=-1)


def folded_dft(window_samples: int, n_fft: int, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Windowed cosine and sine matrices, each (window_samples / 2, len(bins)), for offsets 0 .. W/2 - 1.

    The sample at offset 0 stands in both halves of the sum, so its weight is halved. A periodic Hann window is zero at
    the one sample (offset -W/2) that has no partner.
    """
    half = window_samples // 2
    offsets = torch.arange(half, dtype=torch.float64)
    window = torch.hann_window(window_samples, periodic=True, dtype=torch.float64)[half:].clone()
    window[0] /= 2
    angles = 2 * math.pi / n_fft * offsets[:, None] * bins[None, :].double()
    weights = window[:, None]
    return (weights * angles.cos()).float(), (weights * angles.sin()).float()
