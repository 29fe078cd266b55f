import numpy as np
import pytest

from speech_commands_kws.audio.levels import amplitude, amplitude_for_snr, level_db


def test_levels_are_decibels_of_power_and_of_amplitude():
    assert level_db(np.array([1, 0.01, 0])) == pytest.approx([0, -20, -200])
    assert amplitude(-6.0206) == pytest.approx(0.5, rel=1e-4)


def test_the_factor_on_a_noise_gives_the_ratio_of_powers_and_leaves_silence_alone():
    factor = amplitude_for_snr(np.array([4.0, 4.0]), np.array([1.0, 0.0]), 20)
    assert factor == pytest.approx([0.2, 0])


def test_arrays_and_tensors_go_through_the_same_formula():
    torch = pytest.importorskip("torch")
    signal, noise, ratios = np.random.default_rng(0).random((3, 50), dtype=np.float32)
    noise[0] = 0
    tensors = map(torch.from_numpy, (signal, noise, ratios))
    np.testing.assert_allclose(
        amplitude_for_snr(*tensors).numpy(), amplitude_for_snr(signal, noise, ratios), rtol=1e-6
    )
