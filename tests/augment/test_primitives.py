import torch

from speech_commands_kws.augment.primitives import (
    amplitude_for_snr,
    random_bars,
    random_excerpts,
    shift,
)

BATCH, SAMPLES = 200, 4000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shift_moves_each_clip_by_its_own_amount():
    waveform = torch.arange(1.0, 6.0).repeat(3, 1)
    moved = shift(waveform, torch.tensor([0, 2, -1]))
    assert moved.tolist() == [[1, 2, 3, 4, 5], [0, 0, 1, 2, 3], [2, 3, 4, 5, 0]]


def test_excerpts_are_stretches_of_the_noise():
    excerpts = random_excerpts(torch.arange(1000.0), 50, 100, seeded())
    assert torch.equal(excerpts - excerpts[:, :1], torch.arange(100.0).expand(50, 100))
    assert len(excerpts[:, 0].unique()) > 40


def test_noise_at_a_signal_to_noise_ratio():
    signal = torch.sin(torch.arange(SAMPLES) / 5).repeat(BATCH, 1) * 0.1
    noise = torch.randn(BATCH, SAMPLES, generator=seeded()) * 0.3
    amplitude = amplitude_for_snr(signal, noise, torch.full((BATCH, 1), 10.0))
    ratio = signal.square().mean(1) / (amplitude * noise).square().mean(1)
    torch.testing.assert_close(
        10 * torch.log10(ratio), torch.full((BATCH,), 10.0), atol=1e-3, rtol=0
    )
    assert amplitude_for_snr(signal, noise * 0, torch.zeros(BATCH, 1)).eq(0).all()


def test_bars_have_every_width_up_to_the_largest():
    widths = random_bars(1, 5, 2000, 40, seeded()).sum(1)
    assert set(widths.tolist()) == set(range(6))
