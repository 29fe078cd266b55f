import pytest

from speech_commands_kws.data.synthesis.distinctness import (
    FAIR,
    GOOD,
    POOR,
    WordCheck,
    holds,
    rounded,
)
from speech_commands_kws.errors import KwsError, SettingError


@pytest.fixture
def check():
    """Asks espeak-ng and wordfreq."""
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    pytest.importorskip("wordfreq", reason="the extra `synthetic` is not installed")

    def look_up(*words, **settings):
        defaults = {
            "language": "en",
            "accent": "en-us",
            "common_words": 800,
            "words_per_minute": 150,
            "told": 3,
            "near_distance": 0.15,
            "few_syllables": 1,
            "often_per_hour": 1.0,
        }
        return WordCheck(**defaults | settings)(list(words))

    return look_up


def test_a_word_holds_another_one_in_one_piece():
    assert holds(tuple("stɑpt"), tuple("stɑp")) and holds(tuple("ʌnstɑp"), tuple("stɑp"))
    assert not holds(tuple("stɑ"), tuple("stɑp")) and not holds(tuple("stiɑp"), tuple("stɑp"))


def test_numbers_have_two_digits_and_no_exponent():
    assert [rounded(count) for count in (0.0123, 1.16, 93.4, 268.3, 12345)] == [
        *("0.012", "1.2", "93", "270", "12,000")
    ]


def test_a_short_word_that_people_say_is_a_poor_keyword(check):
    (no,) = check("no")
    assert no.verdict == POOR and no.syllables == 1
    assert [other.word for other in no.alike] == ["know"]
    assert {"known", "knows"} & {other.word for other in no.inside}
    assert "people say it or know, which sounds the same" in " ".join(no.reasons)
    # Of its homophone as well: 150 words a minute are 9,000 an hour.
    assert 10 < no.per_hour < 40 and 5 < no.alike[0].per_hour < 20


def test_near_words_are_no_homophones_and_no_longer_words(check):
    (right,) = check("right", common_words=2000)
    kinds = [{other.word for other in some} for some in (right.alike, right.near, right.inside)]
    assert kinds[0] == {"write"} and "white" in kinds[1]
    assert not kinds[0] & kinds[1] and not kinds[1] & kinds[2]
    assert all(0 < other.distance <= 0.15 for other in right.near)


def test_a_long_word_that_is_rarely_said_is_a_good_one(check):
    name, phrase = check("Marvin", "hey lights")
    assert (name.verdict, phrase.verdict) == (GOOD, GOOD) and (
        name.syllables,
        phrase.syllables,
    ) == (2, 2)
    assert phrase.per_hour < name.per_hour < 1
    assert not name.reasons and not name.alike and not phrase.near


def test_one_reason_makes_it_fair(check):
    assert check("marvin", few_syllables=2)[0].reasons == ["2 syllables, little to tell it by"]
    assert check("marvin", few_syllables=2)[0].verdict == FAIR
    (often,) = check("marvin", often_per_hour=0.001)
    assert often.verdict in (FAIR, POOR) and "people say it" in often.reasons[0]


def test_a_word_of_another_language_is_looked_up_there(check):
    (light,) = check("nein", language="de", accent="de")
    assert light.per_hour > 1 and light.phonemes == "n aɪ n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language": "xx"}, "language must be one of"),
        ({"common_words": 0}, "common_words"),
        ({"near_distance": 2}, "near_distance"),
        ({"accent": "en-xx"}, "espeak-ng has no"),
        ({"language": "de"}, "accent must be one of the language de, got en-us"),
        ({"accent": "de"}, "accent must be one of the language en, got de"),
    ],
)
def test_a_setting_that_is_none_is_refused(check, settings, message):
    with pytest.raises(KwsError, match=message):
        check("lights", **settings)


def test_what_cannot_be_said_is_refused(check):
    with pytest.raises(SettingError, match="must be words of letters"):
        check("r2d2")
