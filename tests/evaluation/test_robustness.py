"""Noise and rooms around clips: ratios, draws, and what is counted."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import soundfile
import yaml
from conftest import REPOSITORY

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation import robustness
from speech_commands_kws.evaluation.metrics import wilson_interval
from speech_commands_kws.evaluation.robustness import BABBLE, WHITE, Robustness
from speech_commands_kws.evaluation.scoring import Scores

RATE, SAMPLES = 8000, 8000
LABELS = ["_silence_", "low", "high"]
HERTZ = {1: 300, 2: 1500}
FEW_ROOMS = {"rooms": 1, "places": 2, "seconds": 0.3, "max_order": 8}
STANDARD = yaml.safe_load((REPOSITORY / "configs/robustness/standard.yaml").read_text())
SETTINGS = {
    **{key: value for key, value in STANDARD.items() if not key.startswith("_")},
    **{"clips": 8, "snr_db": [20, -20], "rt60_seconds": [0.3], "gain_db": [20, -20]},
    "rooms": STANDARD["rooms"] | FEW_ROOMS,
}


@dataclass
class FakeClips:
    """Tones: class 1 is low, class 2 high; class 0 is zeros."""

    targets: np.ndarray
    noises: dict = field(default_factory=dict)
    names: tuple = ()

    def waveforms(self, part):
        time = np.arange(SAMPLES) / RATE
        hertz = [[HERTZ.get(target, 0)] for target in self.targets[part]]
        return (0.2 * np.sin(2 * np.pi * np.array(hertz) * time)).astype(np.float32)


def predict(waveforms):
    """Which of the two tones is louder."""
    power = np.abs(np.fft.rfft(waveforms)) ** 2
    low, high = power[:, HERTZ[1]], power[:, HERTZ[2]]
    return np.stack([np.zeros(len(power)), low, high], axis=1) / (low + high + 1e-9)[:, None]


def scores_of(clips):
    return Scores(LABELS, clips.names, clips.targets, np.eye(len(LABELS))[clips.targets])


def measure(words, heard=True, **settings):
    trials = Robustness(**SETTINGS | settings)

    def watch(found, _):
        return found

    return trials.measure(predict, words, scores_of(words), RATE, 4, heard, watch)


def hum(hertz, seconds=5):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE * seconds) / RATE).astype(np.float32)


@pytest.fixture
def clips():
    return FakeClips(np.array([1, 2, 0] * 10), {"low_hum.wav": hum(300)})


def test_what_drowns_in_noise_is_counted_wrong(clips):
    facts = measure(clips)
    assert facts["clean"] == {"accuracy": 1.0, "interval_95": list(wilson_interval(20, 20))}
    near, far = facts["noises"]["low_hum"]["by_snr"]
    targets = clips.targets[Robustness(**SETTINGS).choose("low_hum", np.flatnonzero(clips.targets))]
    assert near["accuracy"] == 1.0
    assert far["accuracy"] == np.mean(targets == 1), "low is heard in a low hum, high is not"
    assert far["interval_95"] == list(wilson_interval(int(sum(targets == 1)), 8))
    assert set(facts["noises"]) == {"low_hum", WHITE, BABBLE}
    assert [room["rt60_seconds"] for room in facts["rooms"]] == [0.3]
    assert facts["rooms"][0]["accuracy"] == 1.0


def test_levels_are_those_of_quieter_and_of_louder_clips_within_full_scale(clips):
    """What is taken for low where it is quiet: a model that is deaf to quiet clips loses the high ones."""
    heard = []

    def deaf_to_quiet(waveforms):
        heard.append(np.abs(waveforms).max())
        return np.where(np.abs(waveforms).max(1)[:, None] < 0.1, [0, 1, 0], predict(waveforms))

    trials = Robustness(**SETTINGS)
    facts = trials.measure(
        deaf_to_quiet, clips, scores_of(clips), RATE, 100, True, lambda found, _: found
    )
    targets = clips.targets[trials.choose("level", np.flatnonzero(clips.targets))]
    loud, quiet = facts["levels"]
    assert (loud["gain_db"], loud["accuracy"]) == (20, 1.0)
    assert (quiet["gain_db"], quiet["accuracy"]) == (-20, np.mean(targets == 1))
    assert heard[-2:] == pytest.approx([1.0, 0.02], rel=0.01)


def test_means_are_those_of_the_noises_and_rest_on_all_their_clips(clips):
    facts = measure(clips)
    rows = [noise["by_snr"] for noise in facts["noises"].values()]
    assert facts["mean_by_snr"][1]["accuracy"] == pytest.approx(
        np.mean([row[1]["accuracy"] for row in rows])
    )
    trials, words = Robustness(**SETTINGS), np.flatnonzero(clips.targets)
    distinct = len({i for name in facts["noises"] for i in trials.choose(name, words)})
    assert 8 < distinct <= 20
    right = round(facts["mean_by_snr"][1]["accuracy"] * distinct)
    assert facts["mean_by_snr"][1]["interval_95"] == list(wilson_interval(right, distinct))


def test_the_same_seed_gives_the_same_figures_whatever_other_noise_there_is(clips):
    first = measure(clips)
    assert first == measure(clips)
    more = measure(FakeClips(clips.targets, clips.noises | {"another.wav": hum(50)}))
    assert more["noises"]["low_hum"] == first["noises"]["low_hum"]
    trials = {seed: Robustness(**SETTINGS | {"seed": seed}) for seed in (0, 1)}
    words = np.arange(30)
    assert trials[0].choose("x", words).tolist() != trials[1].choose("x", words).tolist()


def test_only_words_are_tried(clips):
    chosen = Robustness(**SETTINGS | {"clips": 0}).choose("x", np.flatnonzero(clips.targets))
    assert sorted(clips.targets[chosen]) == [1] * 10 + [2] * 10
    assert measure(FakeClips(np.zeros(4, dtype=int))) is None


def test_own_noise_is_the_part_that_training_may_be_kept_from(clips):
    """A hum that changes after four fifths: only the last fifth, the harmless one, is heard."""
    changing = np.concatenate([hum(300, 8), hum(3000, 2)])
    facts = measure(FakeClips(clips.targets, {"hum.wav": changing}))
    assert facts["noises"]["hum"]["by_snr"][1]["accuracy"] == 1.0
    whole = measure(FakeClips(clips.targets, {"hum.wav": changing}), held_out=1.0)
    assert whole["noises"]["hum"]["by_snr"][1]["accuracy"] < 1.0


def test_a_noise_folder_is_one_kind_for_each_folder_in_it(clips, tmp_path):
    for name in ("street/a.wav", "street/b.wav", "fan.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, hum(300), RATE)
    facts = measure(clips, noise_folder=str(tmp_path))
    assert set(facts["noises"]) == {"low_hum", "street", "fan", WHITE, BABBLE}
    assert facts["noises"]["fan"]["by_snr"][1]["accuracy"] < 1.0


def test_only_own_noise_counts_as_heard_in_training(clips):
    marks = {True: {"low_hum"}, False: set()}
    for heard, expected in marks.items():
        noises = measure(clips, heard=heard)["noises"]
        assert {name for name, noise in noises.items() if noise["heard_in_training"]} == expected


@pytest.mark.parametrize("snr_db", [20, 0, -5])
def test_noise_lies_at_the_ratio_and_the_sum_within_full_scale(snr_db):
    generator = np.random.default_rng(0)
    words = generator.normal(0, 0.5, (5, SAMPLES)).astype(np.float32)
    noise = generator.normal(0, 0.01, (5, SAMPLES)).astype(np.float32)
    mixed = robustness.mix(words, noise, snr_db)
    assert mixed.dtype == np.float32 and np.abs(mixed).max() <= 1
    for row, word, sound in zip(mixed, words, noise, strict=True):
        parts = np.linalg.lstsq(np.stack([word, sound], axis=1), row, rcond=None)[0]
        ratio = np.sum((parts[0] * word) ** 2) / np.sum((parts[1] * sound) ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)


def test_noise_that_is_silent_adds_nothing():
    words = np.full((2, 100), 0.1, dtype=np.float32)
    np.testing.assert_array_equal(robustness.mix(words, np.zeros_like(words), 0), words)


def test_babble_is_backwards_and_of_many():
    ramp = np.zeros((1, 1000), dtype=np.float32)
    ramp[0, :500] = np.arange(500)
    (one,) = robustness.babble(ramp, 1, np.random.default_rng(0))
    (peak,) = np.flatnonzero(one == one.max())
    assert one[(peak - 1) % 1000] == 0 and one[(peak + 1) % 1000] > 0, "the ramp now falls"
    words = np.random.default_rng(1).normal(size=(50, 1000)).astype(np.float32)
    many = robustness.babble(words, 8, np.random.default_rng(0))
    assert np.mean(many**2) == pytest.approx(8, rel=0.1)


def test_a_short_recording_is_repeated():
    found = robustness.excerpts(np.arange(10), 3, 25, np.random.default_rng(0))
    assert found.shape == (3, 25) and found[0].tolist() == [i % 10 for i in range(25)]


def test_reverberation_is_a_convolution_with_the_rooms_in_turns():
    words = np.random.default_rng(0).normal(0, 0.01, (3, 300)).astype(np.float32)
    responses = np.array([[1, 0.5, 0], [0, 0, 1]], dtype=np.float32)
    wet = robustness.reverberate(words, responses)
    for i, room in enumerate((0, 1, 0)):
        expected = np.convolve(words[i], responses[room])[:300]
        np.testing.assert_allclose(wet[i], expected, atol=1e-6)


def test_a_noise_folder_that_is_not_there_is_one_clear_error(clips):
    with pytest.raises(KwsError, match="expected a folder of recordings at nowhere, found none"):
        measure(clips, noise_folder="nowhere")
