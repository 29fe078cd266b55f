import json
import sys
from functools import partial

import pytest


@pytest.fixture
def check(type_kws):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    pytest.importorskip("wordfreq", reason="the extra `synthetic` is not installed")
    return partial(type_kws, "check-word", "check.common_words=500")


def test_keywords_are_compared(check):
    status, out, err = check("no", "hey lights")
    rows = out.split("no ", 1)[1]
    assert status == 0 and "poor" in rows.split("hey lights")[0]
    assert rows.split("hey lights")[1].split() == ["good", "nothing"]
    assert "better: a longer word" in err


def test_nothing_better_than_good_is_advised(check):
    status, _, err = check("marvin")
    assert (status, err) == (0, "")


def test_a_word_that_nobody_says_may_be_misspelt(check):
    status, _, err = check("ligths", "lights")
    assert status == 0 and err.startswith("wordfreq has never counted ligths: check the spelling")


def test_programs_read_json(check):
    status, out, _ = check("no", "format=json")
    (found,) = json.loads(out)
    assert status == 0 and found["verdict"] == "poor"
    assert found["alike"][0]["word"] == "know" and found["alike"][0]["per_hour"] > 1


def test_a_language_brings_its_accent(check):
    status, out, _ = check("licht", "check.language=de", "format=json")
    (found,) = json.loads(out)
    assert status == 0 and found["phonemes"] == "l ɪ ç t"
    assert "nicht" in [other["word"] for other in found["near"]]


def test_what_wordfreq_needs_for_a_language_is_named(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    status, out, err = check("你好", "check.language=zh")
    assert status == 1 and out == "" and 'pip install "wordfreq[cjk]"' in err


@pytest.mark.parametrize("words", [["r2d2"], ["lights", "Lights"]])
def test_a_word_that_is_none_is_one_clear_line(check, words):
    status, out, err = check(*words)
    assert status == 1 and out == "" and err.startswith("error: words must ")
