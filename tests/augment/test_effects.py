"""Each effect in numbers: shares, levels, frequencies, decay."""

import math

import pytest
import torch

from speech_commands_kws.audio.room_acoustics import convolve
from speech_commands_kws.augment.chain import Chain
from speech_commands_kws.augment.channel import BandLimit, BitDepth, MuLaw, band_limit, mu_law
from speech_commands_kws.augment.level import Babble, BackgroundNoise, Gain, Shift
from speech_commands_kws.augment.mixup import Mixup
from speech_commands_kws.augment.recipe import SpecAugment
from speech_commands_kws.augment.reverberation import Reverberation
from speech_commands_kws.augment.subset import random_rows
from speech_commands_kws.augment.tempo import (
    Pitch,
    Speed,
    change_pitch,
    change_speed,
    nice_length,
)
from speech_commands_kws.errors import KwsError

RATE = 16_000
BATCH = 40
ROOMS = {
    "rooms": 2,
    "places": 2,
    "seconds": 0.3,
    "rt60_seconds": (0.2, 0.4),
    "length_m": (3, 5),
    "width_m": (3, 4),
    "height_m": (2.5, 3),
    "wall_distance_m": 0.3,
    "max_order": 10,
    "sample_rate": RATE,
    "seed": 0,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(hertz: float, samples: int = RATE) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed)) * 0.1


def loudest_hertz(waveform: torch.Tensor) -> float:
    middle = waveform[4000:12000] * torch.hann_window(8000)
    return torch.fft.rfft(middle).abs().argmax().item() * RATE / 8000


def decibel(ratio: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(ratio)


def apply(module, waveform: torch.Tensor, seed: int = 0, silence=()) -> torch.Tensor:
    is_silence = torch.zeros(len(waveform), dtype=torch.bool)
    is_silence[list(silence)] = True
    return module(waveform, is_silence, seeded(seed))


def with_noise(**settings) -> BackgroundNoise:
    module = BackgroundNoise(
        **{"share": 1.0, "snr_db": (0, 20), "silence_amplitude": 1.0} | settings
    )
    module.set_noise(noise(50_000, seed=7))
    return module


STEPS = {
    "shift": Shift(0.5, 100, RATE),
    "gain": Gain(0.5, (-12, 6)),
    "speed": Speed(0.5, [0.9, 1.1]),
    "pitch": Pitch(0.5, [-2, 2], 512),
    "band_limit": BandLimit(0.5, (50, 400), (2500, 7500), 4, RATE),
    "mu_law": MuLaw(0.5),
    "bit_depth": BitDepth(0.5, (7, 12)),
    "noise": with_noise(share=0.5),
    "babble": Babble(0.5, (1, 3), (0, 20)),
    "reverberation": Reverberation(0.5, ROOMS),
}


@pytest.mark.parametrize("name", STEPS)
def test_an_effect_falls_on_its_share_and_follows_from_the_seed(name):
    clips = noise(BATCH, RATE)
    before = clips.clone()
    changed = apply(STEPS[name], clips, seed=3)
    assert changed.shape == clips.shape and torch.equal(clips, before)
    assert (changed != clips).any(1).sum() == BATCH / 2
    assert torch.equal(changed, apply(STEPS[name], clips, seed=3))
    other = (apply(STEPS[name], clips, seed=4) != clips).any(1)
    assert not torch.equal(other, (changed != clips).any(1)), "another seed, other clips"


@pytest.mark.parametrize("name", STEPS)
def test_a_batch_of_one_and_silence_stay_finite(name):
    for clips in (noise(1, RATE), torch.zeros(BATCH, RATE)):
        assert torch.isfinite(apply(STEPS[name], clips)).all()


def test_every_row_is_drawn_equally_often():
    drawn = torch.cat([random_rows(10, 0.3, seeded(seed)) for seed in range(1000)])
    assert (drawn.bincount(minlength=10) - 300).abs().max() < 60


def test_a_chain_goes_in_order_and_leaves_out_what_is_null():
    chain = Chain({"loud": Gain(1.0, (6.0206, 6.0206)), "none": None, "noise": with_noise()})
    assert list(chain.steps) == ["loud", "noise"]
    chain.set_noise(torch.zeros(RATE))
    torch.testing.assert_close(apply(chain, noise(2, RATE)), 2 * noise(2, RATE), rtol=1e-4, atol=0)
    assert chain.state_dict() == {}, "checkpoints hold no noise"


def test_noise_lies_at_the_ratio_even_where_the_sum_is_turned_down():
    clips = tone(440)[None].repeat(BATCH, 1)
    mixed = apply(with_noise(snr_db=(-5, -5)), clips)
    assert mixed.abs().max() <= 1
    scale = (mixed * clips).mean(1, keepdim=True) / clips.square().mean(1, keepdim=True)
    ratio = (scale * clips).square().mean(1) / (mixed - scale * clips).square().mean(1)
    assert (decibel(ratio) + 5).abs().max() < 0.3


def test_ratios_are_uniform_between_their_limits():
    clips = tone(440)[None].repeat(400, 1) * 0.1
    added = apply(with_noise(snr_db=(0, 20)), clips) - clips
    ratios = decibel(clips.square().mean(1) / added.square().mean(1)).sort().values
    expected = torch.linspace(0, 20, 400)
    assert (ratios - expected).abs().max() < 2


@pytest.mark.parametrize("voices", [1, 3])
def test_babble_is_other_clips_backwards_at_the_ratio(voices):
    clips = torch.stack([tone(300 + 100 * i) for i in range(BATCH)]) * 0.1
    clips[:, RATE // 2 :] *= 0.1  # louder first
    added = apply(Babble(1.0, (voices, voices), (5, 5)), clips) - clips
    ratio = decibel(clips.square().mean(1) / added.square().mean(1))
    assert (ratio - 5).abs().max() < 0.01
    spectra = torch.fft.rfft(added).abs()[:, 300 : 300 + 100 * BATCH : 100]
    heard = spectra > 0.3 * spectra.amax(1, keepdim=True)
    assert not heard.diagonal().any(), "no clip hears itself"
    assert heard.sum(1).max() == voices
    if voices == 1:
        assert heard.sum(1).min() == 1


def test_every_number_of_voices_is_heard_equally_often():
    clips = torch.stack([tone(300 + 100 * i) for i in range(12)]) * 0.1
    added = apply(Babble(1.0, (2, 4), (0, 0)), clips) - clips
    spectra = torch.fft.rfft(added).abs()[:, 300:1500:100]
    # A voice may be drawn twice.
    counts = (spectra > 0.1 * spectra.amax(1, keepdim=True)).sum(1)
    assert (counts <= 2).sum() >= 4 and (counts > 3).sum() <= 4 and (counts <= 3).sum() >= 8


def test_babble_plays_clips_backwards():
    ramp = torch.linspace(0, 0.1, RATE)[None].repeat(2, 1)
    added = apply(Babble(1.0, (1, 1), (0, 0)), ramp) - ramp
    falls = added.diff(dim=1) < 0
    assert (falls.sum(1) == RATE - 2).all(), "but where its beginning meets its end"


def test_babble_of_digital_silence_changes_nothing():
    clips = torch.zeros(BATCH, RATE)
    assert apply(Babble(1.0, (1, 3), (0, 0)), clips).equal(clips)


def test_silence_always_becomes_noise():
    changed = apply(with_noise(share=0.0), torch.zeros(4, RATE), silence=[1, 2])
    assert changed.abs().amax(1).gt(0).tolist() == [False, True, True, False]


def test_gain_is_in_decibel_and_stops_at_full_scale():
    clips = tone(440)[None].repeat(400, 1) * 0.1
    gains = 2 * decibel(apply(Gain(1.0, (-10, 6)), clips).abs().amax(1) / clips.abs().amax(1))
    assert gains.min() == pytest.approx(-10, abs=0.3) and gains.max() == pytest.approx(6, abs=0.3)
    assert apply(Gain(1.0, (20, 20)), tone(440)[None]).abs().max() == pytest.approx(1)


def test_shift_moves_up_to_its_reach():
    click = torch.zeros(400, RATE)
    click[:, 8000] = 1
    places = apply(Shift(1.0, 100, RATE), click).argmax(1) - 8000
    assert places.min() < -1500 and places.max() > 1500 and places.abs().max() <= 1600


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_moves_frequency_and_length_around_the_middle(factor):
    clip = torch.zeros(1, RATE)
    clip[0, 4000:12000] = tone(1000, 8000)
    changed = change_speed(clip, factor)[0]
    assert loudest_hertz(changed) == pytest.approx(1000 * factor, rel=0.01)
    inside = (changed.abs() > 0.1).nonzero()
    length = 8000 / factor
    assert inside[0].item() == pytest.approx(8000 - length / 2, abs=60)
    assert inside[-1].item() == pytest.approx(8000 + length / 2, abs=60)
    assert changed.abs().max() == pytest.approx(0.5, abs=0.05), "no louder"


@pytest.mark.parametrize("semitones", [-2, 2])
def test_pitch_moves_frequency_and_keeps_place_and_length(semitones):
    clip = torch.zeros(1, RATE)
    clip[0, 4000:12000] = tone(1000, 8000)
    factor = 2 ** (semitones / 12)
    changed = change_pitch(clip, factor, torch.hann_window(512))[0]
    assert loudest_hertz(changed) == pytest.approx(1000 * factor, rel=0.01)
    inside = (changed.abs() > 0.1).nonzero()
    assert inside[0].item() == pytest.approx(4000, abs=400)
    assert inside[-1].item() == pytest.approx(12000, abs=400)


def test_pitch_of_zero_semitones_gives_the_clip_back():
    clips = noise(2, RATE)
    changed = change_pitch(clips, 1.0, torch.hann_window(512))
    assert (changed - clips).square().mean() / clips.square().mean() < 1e-6


def test_clips_are_dealt_out_among_the_factors():
    clips = tone(1000)[None].repeat(BATCH, 1)
    heard = [round(loudest_hertz(clip)) for clip in apply(Speed(0.5, [0.8, 1.25]), clips)]
    assert sorted(set(heard)) == [800, 1000, 1250]
    assert [heard.count(hertz) for hertz in (800, 1000, 1250)] == [10, 20, 10]


def test_band_limits_halve_the_power_at_the_corners():
    low, high = torch.tensor([[300.0]]), torch.tensor([[3400.0]])
    for hertz, expected in ((300, -3), (3400, -3), (1000, 0), (150, -24.1), (6800, -24.1)):
        clip = tone(hertz)[None]
        passed = band_limit(clip, low, high, 4, RATE)
        change = decibel(passed.square().mean() / clip.square().mean())
        assert change.item() == pytest.approx(expected, abs=0.2), hertz


def test_a_band_without_anything_in_it_is_refused():
    with pytest.raises(ValueError, match="low_hz must lie below high_hz=.2500, 7500., got .50, 3"):
        BandLimit(0.5, (50, 3000), (2500, 7500), 4, RATE)


def test_corners_lie_between_their_limits():
    clips = noise(200, RATE)
    power = torch.fft.rfft(apply(BandLimit(1.0, (50, 400), (2500, 7500), 4, RATE), clips)).abs()
    kept = power.square() / torch.fft.rfft(clips).abs().square()
    above = torch.tensor([1000, 2500, 7500])
    assert kept[:, above[0]].min() > 0.95
    assert kept[:, above[1]].min() > 0.49 and kept[:, above[2]].max() < 0.51


def test_mu_law_is_the_companding_of_g711():
    levels = mu_law(torch.linspace(-1, 1, 10_001)).unique()
    assert len(levels) == 255 and levels.abs().max() == pytest.approx(1)
    assert torch.equal(levels, -levels.flip(0))
    # Its smallest step is 1 / 255 of ln(256) / 127, a 5800th of full scale; its ratio is 38 dB for loud sound.
    assert levels[levels > 0].min() == pytest.approx(math.expm1(math.log(256) / 127) / 255)
    clip = tone(440)
    error = mu_law(clip) - clip
    assert decibel(clip.square().mean() / error.square().mean()) == pytest.approx(38, abs=1)


@pytest.mark.parametrize("bits", [6, 10])
def test_a_bit_is_worth_six_decibel(bits):
    clips = torch.rand(1, 100_000, generator=seeded()) * 2 - 1
    error = apply(BitDepth(1.0, (bits, bits)), clips) - clips
    ratio = decibel(clips.square().mean() / error.square().mean())
    assert ratio.item() == pytest.approx(6.02 * bits, abs=0.1)


def test_reverberation_is_a_convolution():
    clips, responses = noise(3, 500), noise(3, 200, seed=2)
    wet = convolve(clips, responses, torch.fft)
    for i in range(3):
        padded = torch.cat([torch.zeros(199), clips[i]])
        expected = torch.nn.functional.conv1d(padded[None, None], responses[i].flip(0)[None, None])
        torch.testing.assert_close(wet[i], expected[0, 0], atol=1e-5, rtol=0)


def test_a_click_becomes_one_of_the_rooms():
    module = Reverberation(1.0, ROOMS)
    clicks = torch.zeros(BATCH, RATE)
    clicks[:, 0] = 1
    wet = apply(module, clicks)[:, : module.responses.shape[1]]
    nearest = torch.cdist(wet, module.responses).min(1)
    assert nearest.values.max() < 1e-2
    assert set(nearest.indices.tolist()) == {0, 1, 2, 3}


def test_mixup_mixes_clips_and_targets_alike():
    clips = torch.eye(BATCH)  # clip i is 1 at place i alone
    targets = torch.arange(BATCH) % 12
    mixed, soft = Mixup({1: 0.5}, 0.5, 1, 12)(clips, targets, seeded())
    torch.testing.assert_close(mixed.sum(1), torch.ones(BATCH))
    classes = torch.nn.functional.one_hot(targets, 12).float()
    torch.testing.assert_close(soft, mixed @ classes)
    own = mixed.diagonal()
    assert (own >= 0.5).all() and (own < 1).sum() in range(15, 21)
    assert torch.equal(soft.argmax(1), targets)


def test_mixup_leaves_small_models_alone():
    clips, targets = noise(4, 10), torch.arange(4)
    mixed, same = Mixup({1: 0, 3: 0.5}, 0.5, 2.5, 12)(clips, targets, seeded())
    assert mixed is clips and same is targets


def test_lengths_have_small_factors_and_lie_near():
    for samples in range(12_000, 20_000, 7):
        length = nice_length(samples)
        assert abs(length / samples - 1) < 0.011 and length % 2 == 0
        for factor in (2, 3, 5, 7):
            while length % factor == 0:
                length //= factor
        assert length == 1


def test_a_shift_by_a_whole_clip_is_refused():
    with pytest.raises(KwsError, match="of less than a clip of 16000 samples, got up to 16000"):
        apply(Shift(0.5, 1000, RATE), noise(2, RATE))


@pytest.mark.parametrize("widths", [(102, 7), (20, 41)])
def test_bars_wider_than_the_image_are_refused(widths):
    time_width, frequency_width = widths
    augment = SpecAugment(2, time_width, 2, {1: frequency_width}, 1)
    with pytest.raises(KwsError, match="within an image of 40 mel bins and 101 frames"):
        augment(noise(2, 1, 40, 101), seeded())
