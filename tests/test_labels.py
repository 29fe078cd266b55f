"""The classes that are no words."""

from speech_commands_kws import labels


def test_the_names_of_the_published_data_set() -> None:
    assert labels.SILENCE == "_silence_" and labels.UNKNOWN == "_unknown_"
    assert labels.BACKGROUND_NOISE == "_background_noise_"


def test_labels_that_are_no_keyword_are_left_out() -> None:
    known = ["_silence_", "_unknown_", "yes", "no"]
    assert labels.keywords_of(known) == ["yes", "no"]
    assert list(map(labels.is_keyword, known)) == [False, False, True, True]
