"""Generated noise.

Shapes: waveforms are float32 (T,). Levels are dBFS of the root mean square.
"""

import numpy as np

from speech_commands_kws.audio.levels import amplitude

# Brown noise would otherwise be an inaudible slow drift.
LOWEST_HZ = 20.0
# Peaks stay below full scale, so that 16 bits never clip.
MAX_PEAK = 0.9
HUM_HARMONICS = 20
HUM_HISS_COLOUR = 1.0
HUM_HISS_SHARE = 0.1


def set_level(waveform: np.ndarray, level_db: float) -> np.ndarray:
    """Scale to `level_db`, or to a peak of MAX_PEAK where that comes first. Not for silence."""
    gain = amplitude(level_db) / np.sqrt(np.mean(np.square(waveform)))
    return waveform * np.float32(min(gain, MAX_PEAK / np.max(np.abs(waveform))))


def coloured_noise(
    samples: int, colour: float, sample_rate: int, generator: np.random.Generator
) -> np.ndarray:
    """Gaussian noise of RMS 1 whose power spectrum is 1 / frequency^colour.

    Colour 0 is white, 1 pink, 2 brown.

    Source: Timmer and Koenig 1995, "On generating power law noise"; nothing below LOWEST_HZ.
    """
    spectrum = np.fft.rfft(generator.standard_normal(samples, dtype=np.float32))
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate).astype(np.float32)
    spectrum *= np.maximum(frequency, LOWEST_HZ) ** (-colour / 2)
    spectrum[frequency < LOWEST_HZ] = 0
    noise = np.fft.irfft(spectrum, samples)
    return noise / np.std(noise)


def mains_hum(
    samples: int, mains_hz: float, sample_rate: int, generator: np.random.Generator
) -> np.ndarray:
    """Harmonics of the mains, the k-th 1/k as strong at a random phase, over a little hiss."""
    seconds = np.arange(samples) / sample_rate
    phases = generator.uniform(0, 2 * np.pi, HUM_HARMONICS)
    hum = sum(
        np.sin(2 * np.pi * k * mains_hz * seconds + phases[k - 1]) / k
        for k in range(1, HUM_HARMONICS + 1)
    )
    hiss = coloured_noise(samples, HUM_HISS_COLOUR, sample_rate, generator)
    return (hum + HUM_HISS_SHARE * hiss).astype(np.float32)
