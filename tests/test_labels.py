"""The classes that are no words."""

from speech_commands_kws import labels


def test_the_names_of_the_published_data_set() -> None:
    assert labels.SILENCE == "_silence_" and labels.UNKNOWN == "_unknown_"
    assert labels.BACKGROUND_NOISE == "_background_noise_"
