"""Decibels, and the amplitude for a signal-to-noise ratio.

Only operators are used, so that the same formula serves numpy arrays and torch tensors.
"""

from typing import Any

import numpy as np

POWER_OF_1_DB = 10 ** (1 / 10)
AMPLITUDE_OF_1_DB = 10 ** (1 / 20)
# For the logarithm of digital silence: -200 dB.
LEAST_POWER = 1e-20
# Fraction of full scale at which a converter saturates.
FULL_SCALE = 0.999


def level_db(power: np.ndarray) -> np.ndarray:
    """Mean powers as decibels; 1 is 0 dB."""
    return 10 * np.log10(power + LEAST_POWER)


def frame_levels(waveform: np.ndarray, frame: int) -> np.ndarray:
    """(number of whole frames,) levels of (T,) in dBFS of the root mean square, `frame` samples each."""
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    return level_db(np.mean(np.square(frames), axis=1))


def amplitude(level: Any) -> Any:
    """Amplitude of a level in decibels; 0 dB is 1."""
    return AMPLITUDE_OF_1_DB**level


def amplitude_for_snr(signal_power: Any, noise_power: Any, snr_db: Any) -> Any:
    """The factor on a noise that makes the ratio of mean powers `snr_db`; zero where noise is silent."""
    heard = noise_power != 0
    power_ratio = signal_power / (noise_power + ~heard)
    return (power_ratio * POWER_OF_1_DB**-snr_db) ** 0.5 * heard
