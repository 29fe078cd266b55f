"""Who is cast, their names and their splits."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from speech_commands_kws.data.speech_tree import TEST, TRAIN, VALIDATION, published_split
from speech_commands_kws.data.synthesis.speakers import (
    cast_person,
    check_casting,
    engines_of_rows,
    settings_of_voices,
    speaker_name,
    speaking,
    split_of,
)
from speech_commands_kws.errors import SettingError


@dataclass
class Tones:
    """An engine that casts the number it is asked for."""

    lowest_hz: float = 100.0

    def cast(self, number, generator):
        return number


@dataclass
class Casting:
    shares: dict
    speakers: int = 40
    language: str = "en"
    held_out: str | None = None
    voices: dict = field(default_factory=lambda: {"low": Tones(), "high": Tones(400.0)})
    speed: tuple = (0.8, 1.2)
    size: tuple = (0.9, 1.1)
    level_db: tuple = (-30.0, -20.0)
    seed: int = 0


def test_one_speaker_of_ten_is_for_validation_and_one_for_testing() -> None:
    splits = [split_of(number, "low", None) for number in range(20)]
    assert splits == [*[TRAIN] * 8, VALIDATION, TEST] * 2


def test_an_engine_that_is_held_out_is_all_that_is_tested_on() -> None:
    assert {split_of(number, "high", "high") for number in range(20)} == {TEST}
    others = [split_of(number, "low", "high") for number in range(10)]
    assert others == [*[TRAIN] * 8, VALIDATION, TRAIN]


def test_rows_go_to_the_engines_by_their_shares_and_stay_when_there_are_more() -> None:
    shares = {"low": 3, "high": 1, "silent": 0}
    engines = engines_of_rows(shares, 40)
    assert Counter(engines) == {"low": 30, "high": 10}
    assert engines_of_rows(shares, 7) == engines[:7]
    assert set(engines[:4]) == {"low", "high"}


def test_an_engine_numbers_its_own_speakers_in_a_row() -> None:
    casting = Casting({"low": 1, "high": 1})
    people = [cast_person(casting, number)[0] for number in range(60)]
    for name in ("low", "high"):
        assert [person.voice for person in people if person.engine == name] == list(range(30))
    assert all(0.8 <= person.speed <= 1.2 and 0.9 <= person.size <= 1.1 for person in people)
    assert len({person.speed for person in people}) == 60
    assert cast_person(casting, 59)[0] == people[59]


def test_an_engine_without_a_share_neither_speaks_nor_counts_among_the_settings() -> None:
    casting = Casting({"low": 0, "high": 1})
    assert list(speaking(casting)) == ["high"]
    assert list(speaking(Casting({"low": 3, "high": 1}, speakers=10))) == ["low"]
    assert settings_of_voices(casting) == {"high": {"class": "Tones", "lowest_hz": 400.0}}


@pytest.mark.parametrize(
    "casting, complaint",
    [
        (Casting({"low": 1}, speakers=9), "speakers must be a whole number of 10 or more, got 9"),
        (Casting({"low": 0}), "shares must give some of the engines"),
        (Casting({"nobody": 1}), r"engines of voices \(low, high\) .*nobody"),
        (Casting({"low": -1}), "shares.low must be a number of 0 or more"),
        (Casting({"low": 1}, held_out="high"), "got 'high', and the 40 speakers are of low: name"),
        (Casting({"low": 1}, held_out="low"), "held_out must be one of two or more engines"),
        (Casting({"low": 1}, speed=(0, 1)), "speed must be .* from 0.4 to 2.5"),
        (Casting({"low": 1}, size=(1, 3)), "size must be .* from 0.5 to 2"),
        (Casting({"low": 1}, voices={"low": 7}), "voices.low must be a dataclass"),
    ],
)
def test_settings_that_cast_nobody_are_refused(casting, complaint) -> None:
    check_casting(Casting({"low": 1, "high": 2}, held_out="high"))
    with pytest.raises(SettingError, match=complaint):
        check_casting(casting)


def test_the_published_rule_puts_a_name_into_the_split_of_its_speaker() -> None:
    for split in (TRAIN, VALIDATION, TEST):
        names = [speaker_name(0, number, split) for number in range(5)]
        assert len({*names}) == 5
        assert {published_split(name, 10, 10) for name in names} == {split}
        assert speaker_name(0, 3, split) == names[3]
        assert speaker_name(1, 3, split) != names[3]
