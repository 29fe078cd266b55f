import numpy as np
import pytest
import torch
import torchaudio
from torch.utils.flop_counter import FlopCounterMode

from speech_commands_kws.models.frontend import LogMel

SAMPLE_RATE = 16000
PAPER = dict(
    sample_rate=SAMPLE_RATE,
    window_ms=30,
    hop_ms=10,
    n_fft=512,
    n_mels=40,
    f_min=0,
    f_max=8000,
    log_floor=1e-6,
)


def speech_like(seconds: float = 1.0) -> torch.Tensor:
    """Two waveforms (2, T): a buzz with moving formants and pauses, over a quiet noise floor."""
    time = torch.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    generator = torch.Generator().manual_seed(1)
    buzz = sum(torch.sin(2 * torch.pi * 120 * i * time) / i for i in range(1, 40))
    envelope = (torch.sin(2 * torch.pi * 3 * time).clamp_min(0)) * 0.2
    floor = torch.randn(2, len(time), generator=generator) * 1e-3
    return torch.stack([buzz * envelope, buzz.roll(400) * envelope.flip(0)]) + floor


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"f_max": 4000},
        {"window_ms": 25},
        {"window_ms": 32, "hop_ms": 8, "n_mels": 64},
        {"window_ms": 32, "hop_ms": 125 / 16},  # no common divisor: one short DFT
        {"f_min": 60, "f_max": 7600, "n_fft": 1024},
        {"window_ms": 25, "n_mels": 32, "f_min": 60, "f_max": 3800, "magnitude": True},
    ],
    ids=str,
)
def test_agrees_with_torchaudio_on_speech_and_noise(changes):
    settings = PAPER | changes
    frontend = LogMel(**settings)
    reference = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE,
        n_fft=settings["n_fft"],
        win_length=frontend.window_samples,
        hop_length=frontend.hop_samples,
        n_mels=settings["n_mels"],
        f_min=settings["f_min"],
        f_max=settings["f_max"],
        power=1 if frontend.magnitude else 2,
    )
    noise = torch.randn(4, SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    for waveform in (noise, speech_like()):
        expected = torch.log(reference(waveform) + settings["log_floor"])
        torch.testing.assert_close(frontend(waveform)[:, 0], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(frontend.by_fft(waveform)[:, 0], expected, atol=1e-4, rtol=0)


def test_shape_and_silence():
    log_mel = LogMel(**PAPER)(torch.zeros(3, SAMPLE_RATE))
    assert log_mel.shape == (3, 1, 40, 101)
    assert torch.allclose(log_mel, torch.tensor(np.log(1e-6), dtype=torch.float32))


def test_a_tone_is_loudest_in_the_bin_of_its_frequency():
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    log_mel = LogMel(**PAPER)(torch.sin(2 * torch.pi * 1000 * time)[None])[0, 0]
    mel_of = lambda hertz: 2595 * np.log10(1 + hertz / 700)  # noqa: E731
    expected = round(mel_of(1000) / (mel_of(8000) / 41)) - 1
    assert log_mel[:, 50].argmax().item() == expected


def test_bins_above_f_max_are_left_out():
    half, full = LogMel(**PAPER | {"f_max": 4000}), LogMel(**PAPER)
    assert half.long_dft.numel() == full.long_dft.numel() / 2


@pytest.mark.parametrize(
    "changes", [{"window_ms": 40}, {"f_max": 9000}, {"f_min": 5000, "f_max": 4000}], ids=str
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match="expected"):
        LogMel(**PAPER | changes)


def test_multiply_adds_counts_the_three_products():
    frontend = LogMel(**PAPER)
    with FlopCounterMode(display=False) as counter:
        frontend(torch.zeros(1, SAMPLE_RATE))
    assert frontend.multiply_adds(101) == counter.get_total_flops() / 2


def test_fft_gives_the_same():
    frontend, waveform = LogMel(**PAPER), speech_like().repeat(10, 1)[:19]
    torch.testing.assert_close(frontend.by_fft(waveform), frontend(waveform), atol=1e-4, rtol=0)
