import pytest

from speech_commands_kws.data.synthesis.language import common_words
from speech_commands_kws.data.synthesis.near_misses import (
    check_keywords,
    choose_others,
    is_homophone,
    near_misses,
)
from speech_commands_kws.errors import KwsError

ACCENTS = ["en-us", "en-gb-x-rp"]
SAID = {
    "no": {"en-us": ["n", "ˈoʊ"], "en-gb-x-rp": ["n", "ˈəʊ"]},
    "know": {"en-us": ["n", "ˌoʊ"], "en-gb-x-rp": ["n", "ˈəʊ"]},
    "go": {"en-us": ["ɡ", "oʊ"], "en-gb-x-rp": ["ɡ", "əʊ"]},
    "row": {"en-us": ["ɹ", "oʊ"], "en-gb-x-rp": ["n", "əʊ"]},
    "banana": {"en-us": list("bənænə"), "en-gb-x-rp": list("bənɑnə")},
    "": {"en-us": [], "en-gb-x-rp": []},
}


def said(word, accent):
    return SAID[word][accent]


@pytest.fixture
def spoken():
    """Asks espeak-ng."""
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")

    def choose(words, candidates, count=3, unknown_words=()):
        return choose_others(words, unknown_words, candidates, ACCENTS, count, 0.35)

    return choose


def test_a_homophone_in_any_accent_is_no_near_miss():
    assert is_homophone("know", ["no"], ACCENTS, said)
    assert is_homophone("row", ["no"], ACCENTS, said)
    assert not is_homophone("row", ["no"], ACCENTS[:1], said)
    candidates = ["know", "row", "go", "banana", ""]
    assert near_misses(["no"], candidates, ACCENTS, 5, 0.35, said) == {"no": ["go"]}


def test_at_most_so_many_and_so_far():
    candidates = ["row", "go", "banana"]
    one_accent = ACCENTS[:1]
    assert near_misses(["no"], candidates, one_accent, 1, 0.35, said) == {"no": ["go"]}
    assert near_misses(["no"], candidates, one_accent, 9, 0.3, said) == {"no": []}
    assert near_misses(["no"], candidates, one_accent, 9, 1, said)["no"][-1] == "banana"
    assert near_misses(["no"], candidates, one_accent, 0, 1, said) == {}


def test_one_of_several_words_that_sound_the_same_is_enough():
    both = near_misses(["banana"], ["no", "know", "go"], ACCENTS[:1], 5, 1, said)["banana"]
    assert both == ["know", "go"]


@pytest.mark.parametrize("words", [["know", "no"], ["yes", "to", "two"]])
def test_keywords_that_sound_alike_are_refused(spoken, words):
    with pytest.raises(KwsError, match=f"{words[-2]!r} and {words[-1]!r} sound alike.* keep one"):
        spoken(words, [])


def test_keywords_that_sound_alike_in_some_accents_are_named(caplog):
    check_keywords(["row", "no", "go"], ACCENTS, said)
    assert caplog.messages == ["the keywords 'row' and 'no' sound alike in the accents en-gb-x-rp"]


@pytest.mark.parametrize("word", ["你好", "привет", "こんにちは", "مرحبا"])
def test_a_keyword_that_english_voices_cannot_read_is_refused(spoken, word):
    with pytest.raises(KwsError, match=f"cannot speak the keyword '{word}'.* Latin letters"):
        spoken(["yes", word], [])


def test_keywords_that_the_voices_can_read_are_spoken(spoken):
    assert spoken(["müde", "안녕", "नमस्ते", "o'clock"], []).unknown == []
    assert choose_others(["你好", "再见"], [], [], ["cmn"], 0, 0.3).near == {}
    assert choose_others(["привет"], [], [], ["en", "ru"], 0, 0.3).near == {}


def test_known_neighbours_are_found_and_homophones_are_not(spoken):
    words = ["computer", "eleven", "write", "know", "heaven", "light", "banana", "now"]
    others = spoken(["seven", "right", "no"], words)

    assert others.near == {"seven": ["heaven", "eleven"], "right": ["light"], "no": ["now"]}
    assert others.near_in_turn == ["heaven", "light", "now", "eleven"]


def test_no_word_is_a_near_miss_twice_or_spoken_already(spoken):
    others = spoken(["seven", "heaven"], ["leaven", "given", "Heaven", "oven"], 2, ["oven"])

    assert others.near == {"seven": ["leaven", "given"], "heaven": []}


def test_an_unknown_word_that_sounds_like_a_keyword_is_left_out(spoken):
    assert spoken(["won", "for"], [], 0, ["one", "four", "two"]).unknown == ["two"]


def test_the_english_words_are_distinct_and_have_neighbours_for_all_sorts_of_words(spoken):
    words = common_words("en")
    near = spoken(["seven", "lights", "stop", "computer", "marvin"], words).near

    assert len(words) == len(set(words)) > 2000 and words == sorted(words)
    assert all(word.isalpha() and word.islower() for word in words)
    assert near["seven"][0] == "heaven"
    assert near["lights"][:2] == ["light", "rights"]
    assert {len(found) for found in near.values()} == {3}
    assert near == spoken(["seven", "lights", "stop", "computer", "marvin"], words).near
