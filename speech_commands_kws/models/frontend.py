"""Log-mel front-end, part of the model: the one definition of the signal path from waveform to features.

Legend: B batch, T samples, F frames, W window samples, M mel bins; the DFT of length R L is made of R short ones of
length L, whose input is Q = W / R samples each.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from speech_commands_kws.errors import check_flag, check_positive, check_whole

CLIPS_IN_CACHE = 4
SHORT_DFTS = 16  # R, or what of it divides the frames


class LogMel(nn.Module):
    """Waveform to log-mel energies with real matrix products only, so that it exports to any engine.

    Equals `log(torchaudio.transforms.MelSpectrogram(center=True, power=2) + log_floor)` with a periodic Hann window,
    HTK mel scale and no filter normalisation. The DFT takes two matrix products (Cooley and Tukey 1965): short DFTs of
    every R-th sample, then, for each of their bins, a product that turns and adds them. Bins that no mel filter looks
    at, and those that mirror others, are left out.

    Args:
        sample_rate: samples per second (Hz).
        window_ms, hop_ms: analysis window and hop (milliseconds).
        n_fft: DFT length (samples), at least the window.
        n_mels: number of mel bins M.
        f_min, f_max: edges of the mel filter bank (Hz).
        log_floor: added before the logarithm; 1e-6 is safe in half precision.
        causal: frame j ends with sample hop (j + 1), and zeros stand before the first sample, so that a frame needs no
            sample that comes after it; otherwise frames are centred on multiples of the hop.
        magnitude: the mel filters add magnitudes (power=1), not energies.

    Shape:
        input: (B, T) waveform in [-1, 1]; output: (B, 1, M, F) with F = T // hop + 1, or T // hop if causal.
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
        causal: bool = False,
        magnitude: bool = False,
    ):
        super().__init__()
        check_flag(causal=causal, magnitude=magnitude)
        check_whole(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
        check_positive(window_ms=window_ms, hop_ms=hop_ms, log_floor=log_floor)
        self.window_samples = round(sample_rate * window_ms / 1000)
        self.hop_samples = round(sample_rate * hop_ms / 1000)
        if self.window_samples % 2 or self.window_samples > n_fft:
            raise ValueError(
                f"expected an even window of at most n_fft={n_fft} samples, got {self.window_samples}; "
                f"change window_ms or n_fft"
            )
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ValueError(
                f"expected 0 <= f_min < f_max <= {sample_rate / 2} Hz, got {f_min} and {f_max}"
            )
        if causal and self.window_samples < self.hop_samples:
            raise ValueError(
                f"expected a causal front-end with window_ms of at least hop_ms={hop_ms}, got {window_ms}"
            )
        self.causal, self.magnitude = causal, magnitude
        # Samples of the past that the first frame looks at.
        self.history_samples = self.window_samples - self.hop_samples
        self.n_mels, self.n_fft = n_mels, n_fft
        self.log_floor = log_floor
        # Frames are built from pieces of this many samples: no gather, only reshapes and slices.
        self.piece_samples = math.gcd(self.window_samples, self.hop_samples)
        self.n_short = math.gcd(SHORT_DFTS, self.piece_samples, n_fft)

        mel_bank = melscale_fbanks(
            n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate
        )  # (n_fft / 2 + 1, M)
        window = torch.hann_window(self.window_samples, periodic=True)
        short_dft, long_dft, mel_weights = two_stage_dft(
            self.window_samples, n_fft, self.n_short, mel_bank
        )
        self.register_buffer("short_dft", short_dft, persistent=False)  # (2 (L / 2 + 1), Q)
        self.register_buffer("long_dft", long_dft, persistent=False)  # (L / 2 + 1, 2 G, 2 R)
        if magnitude:
            mel_weights = mel_weights[:, ::2].contiguous()
        self.register_buffer("mel_weights", mel_weights, persistent=False)  # (M, (L / 2 + 1) 2 G)
        self.register_buffer("full_bank", mel_bank, persistent=False)
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
        bank = self.full_bank  # (n_fft / 2 + 1, M)
        if not self.magnitude:
            bank = bank.repeat_interleave(2, dim=0)
        with torch.autocast(waveform.device.type, enabled=False):
            frames = self.pad(waveform.float()).unfold(1, self.window_samples, self.hop_samples)
            parts = []
            for part in frames.split(CLIPS_IN_CACHE):
                spectrum = torch.fft.rfft(part * self.window, n=self.n_fft)
                if self.magnitude:
                    bins = spectrum.abs()
                else:
                    bins = torch.view_as_real(spectrum).flatten(-2).square_()
                parts.append((bins @ bank).add_(self.log_floor).log_())
        return torch.cat(parts).transpose(1, 2).unsqueeze(1)

    def log_mel(self, frames: Tensor) -> Tensor:
        """(B, W, F) frames to (B, 1, M, F) log-mel."""
        mel = self.mel_weights @ self.power(frames * self.window[:, None])
        return torch.log(mel + self.log_floor).unsqueeze(1)

    def power(self, windowed: Tensor) -> Tensor:
        """(B, W, F) frames to the squares that the mel weights meet, (B, (L / 2 + 1) 2 G, F), or magnitudes."""
        n_frames = windowed.shape[-1]
        short_bins = len(self.long_dft)
        # Row q R + r is sample q of the r-th short DFT: all of them are one product.
        short = self.short_dft @ windowed.reshape(
            -1, self.short_dft.shape[1], self.n_short * n_frames
        )
        long = self.long_dft @ short.reshape(-1, short_bins, 2 * self.n_short, n_frames)
        # Squares of real and imaginary parts, side by side, meet each mel weight twice.
        squares = long.square()
        if self.magnitude:
            squares = (
                squares.reshape(-1, short_bins, squares.shape[2] // 2, 2, n_frames).sum(3).sqrt()
            )
        return squares.reshape(-1, self.mel_weights.shape[1], n_frames)

    def multiply_adds(self, n_frames: int) -> int:
        """Multiply-adds of the matrix products for a number of frames."""
        short = self.short_dft.numel() * self.n_short
        return n_frames * (short + self.long_dft.numel() + self.mel_weights.numel())

    def pad(self, waveform: Tensor) -> Tensor:
        """What the first and the last frame see beyond the waveform: its reflection, or zeros before it if causal."""
        if self.causal:
            return functional.pad(waveform, (self.history_samples, 0))
        half = self.window_samples // 2
        return functional.pad(waveform, (half, half), mode="reflect")

    def frame(self, waveform: Tensor) -> Tensor:
        """(B, T) waveform to (B, W, F) frames, in columns."""
        padded = self.pad(waveform)
        n_frames = (padded.shape[-1] - self.window_samples) // self.hop_samples + 1
        return self.cut_frames(padded[:, : self.window_samples + self.hop_samples * (n_frames - 1)])

    def cut_frames(self, samples: Tensor) -> Tensor:
        """(B, window + hop (F - 1)) samples to (B, W, F) frames, in columns."""
        step = self.hop_samples // self.piece_samples
        n_pieces = self.window_samples // self.piece_samples
        pieces = samples.reshape(samples.shape[0], -1, self.piece_samples).transpose(1, 2)
        # Ends counted from the end, so that a number of frames that is not known yet stays out of them.
        ends = [i - n_pieces + 1 or None for i in range(n_pieces)]
        return torch.cat([pieces[..., i : ends[i] : step] for i in range(n_pieces)], dim=1)


def two_stage_dft(
    window_samples: int, n_fft: int, n_short: int, mel_bank: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices from a frame to the bins that a mel bank (n_fft / 2 + 1, M) looks at, and to its energies.

    With sample n = q R + r and W(N) = exp(-2 pi i / N), bin k of a DFT of length N = R L is the sum over r of
    W(N)^(r k) Y[r, k mod L], where Y[r] is the DFT of length L of the samples r, R + r, 2 R + r ... of a real frame, so
    that Y[r, L - l] is the conjugate of Y[r, l]. Bin k has the power of bin N - k, so l up to L / 2 is enough: each l
    gives a group of at most G bins, and shorter groups are filled up with zeros.

    Returns:
        short: (2 (L / 2 + 1), Q), real and imaginary part by turns.
        long: (L / 2 + 1, 2 G, 2 R), for each l real and imaginary part of its bins from those of Y[:, l].
        mel: (M, (L / 2 + 1) 2 G), the weight of each of these squares.
    """
    short_length = n_fft // n_short
    groups: list[list[tuple[int, Tensor]]] = [[] for _ in range(short_length // 2 + 1)]
    for k, weights in enumerate(mel_bank):
        residue = k % short_length
        is_mirrored = residue >= len(groups)
        if weights.any():
            group = groups[short_length - residue if is_mirrored else residue]
            group.append((n_fft - k if is_mirrored else k, weights))
    long = torch.zeros(len(groups), max(map(len, groups)), 2, 2, n_short)
    mel = torch.zeros(*long.shape[:-2], mel_bank.shape[1])
    for i, group in enumerate(groups):
        for j, (k, weights) in enumerate(group):
            real, imaginary = rotations(torch.tensor([k]), n_short, n_fft)[0]
            long[i, j] = torch.stack(
                [torch.stack([real, -imaginary]), torch.stack([imaginary, real])]
            )
            mel[i, j] = weights
    bins = torch.arange(len(groups))
    short = rotations(bins, window_samples // n_short, short_length)
    return short.flatten(0, 1), long.flatten(1, 2).flatten(2), mel.flatten(0, 2).T.contiguous()


def rotations(bins: Tensor, samples: int, length: int) -> Tensor:
    """Real and imaginary part of exp(-2 pi i bin sample / length), (bins, 2, samples)."""
    angles = -2 * math.pi / length * bins[:, None].double() * torch.arange(samples)
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()
