import numpy as np
import pytest

from speech_commands_kws.audio.room_acoustics import absorption_for, room_responses, simulate, trim
from speech_commands_kws.evaluation.robustness import UNLIKE_TRAINING

RATE = 16_000
ROOM = {
    "rooms": 2,
    "places": 2,
    "seconds": 0.4,
    "rt60_seconds": (0.3, 0.3),
    "length_m": (5, 5),
    "width_m": (4, 4),
    "height_m": (3, 3),
    "wall_distance_m": 0.5,
    "max_order": 30,
    "sample_rate": RATE,
    "seed": 0,
}


def decay_seconds(response: np.ndarray) -> float:
    """RT60 from the fall between -5 and -25 dB of the energy that is still to come (Schroeder 1965)."""
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    return 3 * (np.argmax(level < -25) - np.argmax(level < -5)) / RATE


@pytest.mark.parametrize("rt60", [0.2, 0.4])
def test_sound_decays_in_the_time_asked_for(rt60):
    responses = room_responses(**ROOM | {"rt60_seconds": (rt60, rt60)})
    assert np.mean([decay_seconds(response) for response in responses]) == pytest.approx(
        rt60, rel=0.2
    )


def test_responses_begin_with_the_direct_sound_at_the_energy_one():
    responses = room_responses(**ROOM)
    assert responses.shape == (4, 6400) and responses.dtype == np.float32
    np.testing.assert_allclose(np.sum(responses**2, axis=1), 1, rtol=1e-5)
    assert np.abs(responses[:, :4]).max(axis=1).min() > 0.1


def test_the_same_seed_gives_the_same_rooms_and_another_one_others():
    first = room_responses(**ROOM)
    np.testing.assert_array_equal(first, room_responses(**ROOM))
    for seed in (1, [0, 0, UNLIKE_TRAINING], [0, 1, UNLIKE_TRAINING]):
        assert not np.allclose(first, room_responses(**ROOM | {"seed": seed})), seed


def test_the_direct_sound_travels_at_the_speed_of_sound():
    source, near, far = np.array([1.0, 1, 1]), [2.0, 1, 1], [4.43, 1, 1]
    responses = simulate(np.array([6.0, 4, 3]), 0.2, source, np.array([near, far]), 0, RATE)
    first, second = (np.argmax(np.abs(response)) for response in responses)
    assert second - first == pytest.approx(2.43 / 343 * RATE, abs=1)


def test_more_absorption_for_a_shorter_time_within_what_walls_can():
    size = np.array([5.0, 4, 3])
    assert absorption_for(size, 0.3) > absorption_for(size, 0.6)
    # Sabine: 0.161 V / (S RT60) = 0.161 * 60 / (94 * 0.6) = 0.171; Eyring: 1 - exp(-0.171)
    assert absorption_for(size, 0.6) == pytest.approx(0.157, abs=0.002)
    assert absorption_for(size, 1e-3) == 0.99


def test_a_short_response_is_padded():
    assert trim(np.array([0, 0, 2.0, 1, 0]), 5) == pytest.approx(np.array([2, 1, 0, 0, 0]) / 5**0.5)
