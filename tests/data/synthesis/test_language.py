"""What a language decides: words, accents, engines."""

import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.sources.synthetic import (
    cast_speaker,
    plan_babbles,
    settings_hash,
)
from speech_commands_kws.data.synthesis.espeak import Espeak, Voice
from speech_commands_kws.data.synthesis.language import (
    check_language,
    common_words,
    languages,
    lines_of,
    unknown_words,
)
from speech_commands_kws.data.synthesis.near_misses import choose_others
from speech_commands_kws.data.synthesis.phonemes import features_of, plain
from speech_commands_kws.data.synthesis.speakers import origins_of
from speech_commands_kws.data.words import check_words
from speech_commands_kws.errors import KwsError, SettingError

MIXED = ["data=mixed", "data.root=recordings", "data.words=[licht]"]


@pytest.fixture(autouse=True)
def need_the_extra() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    pytest.importorskip("wordfreq", reason="the extra `synthetic` is not installed")


def configured(*overrides: str, primary: str = "train"):
    with initialize_config_dir(CONFIG_DIR, job_name="test"):
        return compose(primary, ["paths.data=data", *overrides])


def test_the_folders_of_english_speech_stay_what_they_were() -> None:
    """Their names are hashes of all settings: who has them does not have them made again."""
    data = configured().data
    mixed = configured("data=mixed", "data.root=recordings", "data.words=[lights]").data
    corpora = configured("corpora=talk", primary="download").corpora

    assert settings_hash(build(data.source)) == "24fa7dc7"
    assert settings_hash(build(mixed.source).synthetic) == "2ce9a6d9"
    assert build(data.talk).settings_hash == "889b1931"
    assert build(corpora).settings_hash == "4ebbfca7"
    for primary in ("evaluate", "tune"):
        talk = configured("protocol=talk", primary=primary).protocol.ambient.talk
        assert build(talk).settings_hash == "4ebbfca7"
    for primary in ("evaluate", "check_data"):
        source = configured("data=synthetic", primary=primary).data.source
        assert settings_hash(build(source)) == "24fa7dc7"


def test_every_language_has_voices_and_words_that_they_say() -> None:
    engine, data = Espeak(), configured().data
    assert {"de", "en", "es", "fr", "it", "zh"} <= set(languages()) and len(languages()) == 39
    for code in languages():
        words, data.language = unknown_words(code), code
        check_words(common=common_words(code))
        assert len(words) >= 20 and len(common_words(code)) > 2500, code
        for accent in data.source.accents:
            assert all(plain(engine.phonemes(word, accent)) for word in words[::20]), accent
            assert len(engine.say(words[0], Voice(accent, "m3", 50, 50, 175))) > 1000, accent


@pytest.mark.parametrize("code", ["de", "es", "fr", "it", "pl"])
def test_the_phonemes_of_a_language_have_features(code: str) -> None:
    engine = Espeak()
    sounds = {
        sound for word in common_words(code)[:1000] for sound in plain(engine.phonemes(word, code))
    }
    assert [sound for sound in sounds if len(features_of(sound)) == 1] == []


@pytest.mark.parametrize(
    "given",
    [["data.language=fr"], [*MIXED, "data.language=fr"], [*MIXED, "data.spoken.language=fr"]],
)
def test_one_setting_decides_about_everything_that_is_said(given: list[str]) -> None:
    data = configured(*given).data
    source = build(data.source)
    source = getattr(source, "synthetic", source)
    talk = build(data.get("spoken", data).talk)

    assert source.accents == talk.accents == ["fr", "fr-be", "fr-ch"]
    speakers = [cast_speaker(source, number).person for number in range(source.speakers)]
    assert {person.engine for person in speakers} == {"espeak"}
    assert {person.voice.accent for person in speakers} == set(source.accents)
    assert {person.engine for people in talk.people.values() for person in people} == {"espeak"}
    assert source.unknown_words == unknown_words("fr")
    # No English babble, nor talk.
    said = {line.text for babble in plan_babbles(source) for line in babble.lines}
    assert said == {" ".join(lines_of(unknown_words("fr")))}
    assert {word.strip(".") for line in talk._text() for word in line.split()} == set(
        common_words("fr")
    )


def test_what_is_given_is_said() -> None:
    given = [
        "data.unknown_words=[haus]",
        "data.source.babble_text=Guten Tag",
        "data.source.accents=[nl]",
    ]
    source = build(configured("data.language=de", *given).data.source)
    assert (source.unknown_words, source.babble_text, source.accents) == (
        ["haus"],
        "Guten Tag",
        ["nl"],
    )


def test_languages_differ_in_the_folder_and_the_log_names_the_engines_left_out(caplog) -> None:
    caplog.set_level("INFO")
    german, dutch = (
        build(configured(f"data.language={code}", "data.words=[radio]").data.source)
        for code in ("de", "nl")
    )
    assert settings_hash(german) != settings_hash(dutch)
    assert origins_of(german).keys() == {"espeak"}
    assert caplog.messages == ["hibari: does not speak the language de, so the other engines do"]


def test_near_misses_are_words_of_the_language() -> None:
    others = choose_others(
        ["licht", "stopp"], unknown_words("de"), common_words("de"), ["de"], 3, 0.35
    )
    assert others.near["licht"][:2] == ["dicht", "nicht"]
    assert others.near["stopp"] and not set(others.near["stopp"]) & {"stop", "stopp"}


def test_a_language_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingError, match="^language must be one of ar, bg, .*, got xx$"):
        check_language("xx")
    with pytest.raises(KwsError, match="data.source.language must be one of .* got german"):
        build(configured("data.language=german").data.source)
    with pytest.raises(KwsError, match=r"engines of voices \(espeak\) .* for the language de"):
        build(configured("data.language=de", "data.source.shares.espeak=0").data.source)
