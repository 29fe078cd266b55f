"""Room impulse responses by the image-source method (Allen and Berkley 1979), and clips in these rooms.

Legend: B batch, T samples of a clip, N responses, R samples of a response.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from speech_commands_kws.errors import check_positive, check_range, check_whole

METRES_PER_SECOND = 343  # of sound
DECAY = 10**6  # 60 dB as a ratio of energies
PATHS_PER_SURFACE = 4  # mean free path: 4 volume / surface
LEAST_ABSORPTION, MOST_ABSORPTION = 0.01, 0.99


def room_responses(
    rooms: int,
    places: int,
    seconds: float,
    rt60_seconds: Sequence[float],
    length_m: Sequence[float],
    width_m: Sequence[float],
    height_m: Sequence[float],
    wall_distance_m: float,
    max_order: int,
    sample_rate: int,
    seed: int | Sequence[int],
) -> np.ndarray:
    """Impulse responses from a speaker to microphones in shoe-box rooms, float32 (rooms * places, R).

    Each begins with the direct sound and has the energy 1, so that it moves a clip neither in time nor in loudness.

    Args:
        rooms, places: number of rooms, and of microphones in each.
        seconds: length of a response.
        rt60_seconds: range of the time in which the sound falls by 60 decibel.
        length_m, width_m, height_m: ranges of the sizes (metres).
        wall_distance_m: least distance of speaker and microphones from a wall.
        max_order: most reflections of a path; the more, the longer the tail and the time to compute it.
        sample_rate: of the responses (Hz).
        seed: the same seed, the same rooms.
    """
    check_whole(rooms=rooms, places=places, max_order=max_order)
    check_range(rt60_seconds=rt60_seconds, length_m=length_m, width_m=width_m, height_m=height_m)
    check_positive(seconds=seconds, rt60_seconds=min(rt60_seconds))
    generator = np.random.default_rng(seed)
    responses = []
    for _ in range(rooms):
        size = np.array([generator.uniform(*limits) for limits in (length_m, width_m, height_m)])
        rt60 = generator.uniform(*rt60_seconds)
        points = generator.uniform(wall_distance_m, size - wall_distance_m, (1 + places, 3))
        responses += simulate(size, rt60, points[0], points[1:], max_order, sample_rate)
    return np.stack(
        [trim(response, max(round(seconds * sample_rate), 1)) for response in responses]
    )


def simulate(
    size: np.ndarray,
    rt60: float,
    source: np.ndarray,
    microphones: np.ndarray,
    max_order: int,
    sample_rate: int,
) -> list[np.ndarray]:
    """The response at each microphone (n, 3) of a room, all in metres."""
    import pyroomacoustics  # takes seconds to load

    absorption = absorption_for(size, rt60)
    room = pyroomacoustics.ShoeBox(
        size,
        fs=sample_rate,
        materials=pyroomacoustics.Material(absorption),
        max_order=max_order,
    )
    room.add_source(source)
    room.add_microphone_array(microphones.T)
    room.compute_rir()
    return [at_microphone[0] for at_microphone in room.rir]


def absorption_for(size: np.ndarray, rt60: float) -> float:
    """Absorption coefficient of the walls by Eyring's formula, clamped to what is possible."""
    volume = np.prod(size)
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    # Reflections per second; each keeps 1 - absorption of the energy.
    reflections = METRES_PER_SECOND * surface / (PATHS_PER_SURFACE * volume)
    absorption = 1 - DECAY ** (-1 / (reflections * rt60))
    return float(np.clip(absorption, LEAST_ABSORPTION, MOST_ABSORPTION))


def trim(response: np.ndarray, samples: int) -> np.ndarray:
    """From the direct sound on, its first so many samples, at the energy 1."""
    start = np.argmax(np.abs(response) > 0.5 * np.abs(response).max())
    response = response[start : start + samples]
    padded = np.zeros(samples, dtype=np.float32)
    padded[: len(response)] = response
    return padded / np.linalg.norm(padded)


def convolve(waveform: Any, response: Any, fft: Any = np.fft) -> Any:
    """The first T samples of the convolution of each (B, T) with its (B, R).

    Args:
        fft: `numpy.fft` for arrays, `torch.fft` for tensors, so that training and evaluation hear the same room.
    """
    samples = waveform.shape[1]
    length = samples + response.shape[1]
    spectrum = fft.rfft(waveform, n=length) * fft.rfft(response, n=length)
    return fft.irfft(spectrum, n=length)[:, :samples]
