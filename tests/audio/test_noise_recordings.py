import numpy as np
import pytest
import soundfile

from speech_commands_kws.audio.noise_recordings import noise_holdout, read_noises, training_portions
from speech_commands_kws.errors import KwsError

RATE = 1000


def write(path, seconds, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(seconds * rate), 0.5), rate)


def test_recordings_of_all_folders_are_read_at_the_rate_wanted(tmp_path):
    write(tmp_path / "street/car.wav", 2, rate=2 * RATE)
    write(tmp_path / "fan.flac", 1)
    (tmp_path / "street/broken.wav").write_text("no audio")
    (tmp_path / "LICENSE.txt").write_text("no audio")
    write(tmp_path / "._fan.flac", 1)
    found = read_noises(tmp_path, RATE, None)
    assert {name: len(noise) for name, noise in found.items()} == {
        "fan.flac": 1000,
        "street/car.wav": 2000,
    }


def test_so_much_in_all_is_the_same_from_each(tmp_path):
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, 3)
    assert [len(noise) for noise in read_noises(tmp_path, RATE, 2).values()] == [1000, 1000]


def test_nothing_to_hear_is_one_clear_error(tmp_path):
    with pytest.raises(KwsError, match="found none$"):
        read_noises(tmp_path / "nowhere", RATE, None)
    with pytest.raises(KwsError, match="none that can be read"):
        read_noises(tmp_path, RATE, None)


@pytest.mark.parametrize(
    "held_out, length, heard", [(0.2, 100, 80), (0.2, 30, 20), (0.2, 5, 0), (1.0, 100, 0)]
)
def test_what_training_hears_and_what_it_does_not_make_up_the_whole(held_out, length, heard):
    noise = np.arange(length)
    (first,) = training_portions([noise], held_out, clip_samples=10)
    assert len(first) == heard
    np.testing.assert_array_equal(
        np.concatenate([first, noise_holdout(noise, held_out, clip_samples=10)]), noise
    )


def test_nothing_is_held_out_unless_asked_for():
    (whole,) = training_portions([np.arange(7)], 0.0, clip_samples=10)
    assert len(whole) == 7
