import pytest

from speech_commands_kws.data.synthesis.phonemes import (
    EDGE_COST,
    LEAST_DIFFERENCE,
    distance,
    features_of,
    plain,
    replacement_cost,
)

SEVEN, HEAVEN, ELEVEN = (
    ("s", "ɛ", "v", "ə", "n"),
    ("h", "ɛ", "v", "ə", "n"),
    ("ɪ", "l", "ɛ", "v", "ə", "n"),
)


def test_stress_and_length_do_not_make_another_word():
    assert plain(["ˈuː", "ɫ", "ˌ", "ᵻ"]) == ("u", "l", "ɪ")


def test_neither_does_the_voice_of_another_language_that_goes_on() -> None:
    assert plain(["(en)", "ð", "ə", "(de)", "(en)p"]) == ("ð", "ə", "p")


@pytest.mark.parametrize(
    "one, other, cost",
    [
        ("s", "s", 0),
        ("s", "z", 1 / 3),  # voice
        ("t", "k", 1 / 3),  # place
        ("n", "l", 1 / 3),  # manner
        ("p", "ɹ", 1),
        ("tʃ", "ʃ", 1 / 3),
        ("aɪ", "aʊ", 1 / 3),  # glide
        ("aɪ", "oʊ", 1),
        ("i", "ɪ", LEAST_DIFFERENCE),  # sheep, ship
        ("ʏ", "y", LEAST_DIFFERENCE),  # German
        ("β", "b", 1 / 3),  # Spanish
        ("β", "v", LEAST_DIFFERENCE),
        ("ʁ", "ɣ", 1 / 3),  # French
        ("ʁ", "s", 2 / 3),
        ("ɑ̃", "ɑ", 1 / 3),
        ("tɕ", "tʃ", LEAST_DIFFERENCE),  # Polish
        ("s", "ɛ", 1),
        ("ǃ", "s", 1),
        ("ǃ", "ǂ", 1),
    ],
)
def test_a_replacement_costs_the_share_of_features_that_differ(one, other, cost):
    assert replacement_cost(one, other) == pytest.approx(cost)
    assert replacement_cost(other, one) == pytest.approx(cost)


def test_every_symbol_of_the_tables_has_one_place():
    assert features_of("b") == ("consonant", "voiced", "labial", "plosive")
    assert features_of("dʒ") == ("consonant", "voiced", "postalveolar", "affricate")
    assert features_of("m") == ("consonant", "voiced", "labial", "nasal")
    assert features_of("ɑːɹ"[0]) == ("vowel", "open", "back", "")


@pytest.mark.parametrize(
    "one, other, expected",
    [
        (SEVEN, SEVEN, 0),
        (SEVEN, HEAVEN, 1 / 3 / 5),  # place of one of five
        (SEVEN, ELEVEN, (EDGE_COST + 2 / 3) / 6),  # one more at the beginning, and s to l
        (SEVEN, SEVEN[:4], EDGE_COST / 5),
        (SEVEN, SEVEN[1:], EDGE_COST / 5),
        (SEVEN, SEVEN[:2] + SEVEN[3:], 1 / 5),  # none within
        (("n", "oʊ"), ("ɡ", "oʊ"), 2 / 3 / 2),
        (SEVEN, (), EDGE_COST),
    ],
)
def test_the_distance_is_the_cheapest_way_by_the_longer_word(one, other, expected):
    assert distance(one, other) == pytest.approx(expected)
    assert distance(other, one) == pytest.approx(expected)
