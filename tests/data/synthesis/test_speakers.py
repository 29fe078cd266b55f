"""Voices and names of synthetic speakers, and their splits."""

from speech_commands_kws.data.speech_tree import TEST, TRAIN, VALIDATION, published_split
from speech_commands_kws.data.synthesis.speakers import speaker_name, voice_split


def test_one_voice_of_ten_is_for_validation_and_one_for_testing() -> None:
    splits = [voice_split(number) for number in range(20)]
    assert splits == [*[TRAIN] * 8, VALIDATION, TEST] * 2


def test_the_published_rule_puts_a_name_into_the_split_of_its_voice() -> None:
    for split in (TRAIN, VALIDATION, TEST):
        names = [speaker_name(0, number, split) for number in range(5)]
        assert len({*names}) == 5
        assert {published_split(name, 10, 10) for name in names} == {split}
        assert speaker_name(0, 3, split) == names[3]
        assert speaker_name(1, 3, split) != names[3]
