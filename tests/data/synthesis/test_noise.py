import numpy as np
import pytest

from speech_commands_kws.data.synthesis.noise import (
    LOWEST_HZ,
    MAX_PEAK,
    coloured_noise,
    mains_hum,
    set_level,
)

RATE = 16_000


def power_near(waveform, hertz, width=0.1):
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    frequency = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return spectrum[(frequency > hertz * (1 - width)) & (frequency < hertz * (1 + width))].mean()


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_power_falls_with_the_colour(colour):
    noise = coloured_noise(20 * RATE, colour, RATE, np.random.default_rng(0))

    falls_by = 10 * np.log10(power_near(noise, 200) / power_near(noise, 2000))
    assert falls_by == pytest.approx(10 * colour, abs=0.7)
    assert np.std(noise) == pytest.approx(1, abs=1e-3)
    assert power_near(noise, LOWEST_HZ / 2) < 1e-6


def test_hum_is_at_the_harmonics_of_the_mains():
    hum = mains_hum(4 * RATE, 60, RATE, np.random.default_rng(0))

    assert power_near(hum, 120, 0.01) > 100 * power_near(hum, 90, 0.01)
    assert power_near(hum, 60, 0.01) > 3 * power_near(hum, 120, 0.01)


def test_level_is_the_root_mean_square_unless_the_peak_comes_first():
    sine = np.sin(np.arange(RATE)).astype(np.float32)
    click = np.zeros(RATE, np.float32)
    click[0] = 1

    assert np.sqrt(np.mean(set_level(sine, -20) ** 2)) == pytest.approx(0.1, rel=1e-4)
    assert set_level(click, -20).max() == pytest.approx(MAX_PEAK)
