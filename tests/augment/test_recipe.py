import pytest
import torch

from speech_commands_kws.augment.recipe import ShiftAndNoise, SpecAugment

RECIPE = dict(
    probability=0.8,
    shift_ms=100,
    noise_amplitude=0.1,
    silence_amplitude=1.0,
    noise_snr_db=None,
    sample_rate=16000,
)
BATCH, SAMPLES = 200, 4000
AUGMENTED = [
    -0.08012013,
    -0.04399594,
    -0.37067938,
    0.53903097,
    -0.16856058,
    -0.04252659,
    -0.09689964,
    -0.0981831,
]
AUGMENTED_SUM = 27.52064
MASKED = [1160, 800, 881, 747, 1598, 468, 1520, 1135]
MASKED_SUM = 12010.3242


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_noise(**changes) -> ShiftAndNoise:
    module = ShiftAndNoise(**RECIPE | changes)
    module.set_noise(torch.rand(50_000, generator=seeded(7)) * 2 - 1)
    return module


def test_same_generator_same_batch_and_another_one_differs():
    waveform, silence = torch.rand(BATCH, SAMPLES) - 0.5, torch.zeros(BATCH, dtype=torch.bool)
    module = with_noise()
    first = module(waveform, silence, seeded(3))
    assert torch.equal(first, module(waveform, silence, seeded(3)))
    assert not torch.equal(first, module(waveform, silence, seeded(4)))


def test_share_of_clips_left_alone_is_one_minus_probability():
    waveform, silence = torch.rand(1000, SAMPLES) - 0.5, torch.zeros(1000, dtype=torch.bool)
    untouched = (with_noise()(waveform, silence, seeded()) == waveform).all(1).float().mean()
    assert untouched.item() == pytest.approx(0.2, abs=0.04)


def test_silence_always_gets_noise_up_to_its_own_amplitude():
    waveform, silence = torch.zeros(BATCH, SAMPLES), torch.ones(BATCH, dtype=torch.bool)
    loudness = with_noise()(waveform, silence, seeded()).abs().amax(1)
    assert (loudness > 0).all()
    assert 0.9 < loudness.max() <= 1.0
    speech = with_noise()(waveform, ~silence, seeded()).abs().amax(1)
    assert 0.08 < speech.max() <= 0.1


def test_snr_setting_scales_the_noise_to_each_clip():
    module = with_noise(noise_snr_db=(20, 20), probability=1.0, shift_ms=0)
    quiet = torch.sin(torch.arange(SAMPLES) / 5).repeat(BATCH, 1) * 0.01
    added = module(quiet, torch.zeros(BATCH, dtype=torch.bool), seeded()) - quiet
    ratio_db = 10 * torch.log10(quiet.square().mean(1) / added.square().mean(1))
    assert (ratio_db - 20).abs().max() < 0.1


def test_output_stays_in_range():
    loud = with_noise(noise_amplitude=5.0)(
        torch.ones(BATCH, SAMPLES), torch.ones(BATCH, dtype=torch.bool), seeded()
    )
    assert loud.abs().max() <= 1


def test_without_recordings_of_noise_only_the_shift_is_left():
    waveform = torch.rand(BATCH, SAMPLES)
    moved = ShiftAndNoise(**RECIPE)(waveform, torch.zeros(BATCH, dtype=torch.bool), seeded())
    assert moved.shape == waveform.shape and not torch.equal(moved, waveform)


@pytest.mark.parametrize(
    "model_width, frequency_width", [(1, 0), (1.5, 1), (2, 3), (2.5, 3), (8, 7)]
)
def test_bars_grow_with_the_model(model_width, frequency_width):
    table = {1: 0, 1.5: 1, 2: 3, 3: 5, 6: 7, 8: 7}
    module = SpecAugment(2, 20, 2, table, model_width)
    log_mel = torch.ones(300, 1, 40, 101)
    masked = module(log_mel, seeded())[:, 0]
    hidden_mels = (masked == 0).all(2).sum(1).max()
    hidden_frames = (masked == 0).all(1).sum(1).max()
    if frequency_width == 0:
        assert torch.equal(masked, log_mel[:, 0])
    else:
        assert hidden_mels == 2 * frequency_width
        assert 30 < hidden_frames <= 40


def test_the_recipe_stays_what_published_figures_were_trained_with():
    """The same seed gives the numbers that it gave when the recipe was first written."""
    waveform = torch.rand(8, SAMPLES, generator=seeded(1)) - 0.5
    augmented = with_noise()(waveform, torch.arange(8) == 3, seeded(3))
    log_mel = torch.rand(8, 1, 40, 101, generator=seeded(2))
    masked = SpecAugment(2, 20, 2, {1: 0, 1.5: 1, 2: 3}, 2)(log_mel, seeded(4))
    torch.testing.assert_close(augmented[:, 2000], torch.tensor(AUGMENTED), atol=1e-7, rtol=0)
    assert augmented.double().sum().item() == pytest.approx(AUGMENTED_SUM, abs=1e-4)
    assert (masked == 0).sum((1, 2, 3)).tolist() == MASKED
    assert masked.double().sum().item() == pytest.approx(MASKED_SUM, abs=1e-4)
