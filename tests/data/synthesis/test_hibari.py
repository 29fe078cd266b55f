"""People made of one neural voice."""

from dataclasses import replace

import numpy as np
import pytest

from speech_commands_kws.audio.levels import frame_levels
from speech_commands_kws.data.synthesis import hibari
from speech_commands_kws.data.synthesis.hibari import (
    HibariVoice,
    HibariVoices,
    american,
    intoned,
    reshaped,
)
from speech_commands_kws.data.synthesis.language import common_words
from speech_commands_kws.errors import KwsError

VOICE = HibariVoice("en-us", 190.0, 1.0, (1.0, 1.0), 0.0, -60.0)
BINS, FRAMES, BIN_HZ = 601, 4, 20.0


def voices(**changes):
    settings = {
        "accents": ["en-us", "en", "en-gb-scotland"],
        "pitch_hz": (85.0, 270.0),
        "melody": (0.4, 1.4),
        "formants": (0.8, 1.1),
        "formant_spread": 0.05,
        "tilt_db": (-3.0, 3.0),
        "breath_db": (-45.0, -15.0),
        "pitch_jitter": 0.0,
        "endings": ["."],
        "lengthened": 0.0,
    }
    return HibariVoices(**{**settings, **changes})


@pytest.fixture(scope="module")
def engine():
    for package in ("espeakng_loader", "hibari"):
        pytest.importorskip(package, reason="the extra `synthetic` is not installed")
    return voices()


def say(engine, text="stop", speed=1.0, seed=0, **changes):
    said, rate = engine.say(text, replace(VOICE, **changes), speed, np.random.default_rng(seed))
    assert rate == 24_000 and said.dtype == np.float32
    return said


def pitch_hz(said):
    """The strongest period of the loudest 0.1 s."""
    levels = frame_levels(said, 2400)
    middle = said[2400 * levels.argmax() :][:2400].astype(np.float64)
    alike = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    shortest = 24_000 // 350
    return 24_000 / (shortest + alike[shortest : 24_000 // 60].argmax())


def centre_hz(said):
    power = np.abs(np.fft.rfft(said)) ** 2
    return power @ np.fft.rfftfreq(len(said), 1 / 24_000) / power.sum()


def seconds(said):
    return np.ptp(np.flatnonzero(np.abs(said) > 0.01)) / 24_000


@pytest.mark.parametrize("asked", [100.0, 240.0])
def test_a_word_has_the_pitch_of_its_speaker(engine, asked):
    assert pitch_hz(say(engine, "no", pitch_hz=asked, melody=0.0)) == pytest.approx(asked, rel=0.05)


def test_formants_move_without_the_pitch(engine):
    low, high = (say(engine, "no", formants=(size, size), melody=0.0) for size in (0.8, 1.2))

    assert centre_hz(high) > 1.2 * centre_hz(low)
    assert pitch_hz(low) == pytest.approx(pitch_hz(high), rel=0.05)


def test_speed_is_heeded_within_what_the_network_takes(engine):
    slow, fast = seconds(say(engine, speed=0.7)), seconds(say(engine, speed=1.4))

    assert slow > 1.5 * fast
    assert len(say(engine, speed=0.1)) == len(say(engine, speed=0.5))


def test_takes_of_equal_seeds_are_equal_and_others_are_not(engine):
    assert np.array_equal(say(engine, seed=1), say(engine, seed=1))
    assert not np.array_equal(say(engine, seed=1), say(engine, seed=2))


def test_a_long_text_is_said_in_parts(engine):
    text = "We walked along the river, and over the bridge. It was lovely! " * 6
    runs = list(engine._runs(text, "en-us"))

    assert [run[-1] for run in runs] == [".", "!"] * 6
    assert len(list(engine._runs("river " * 80, "en-us"))) == 2
    assert len(say(engine, "river " * 12)) > 4 * len(say(engine, "river"))


def test_nothing_to_say_is_an_empty_waveform(engine):
    assert len(say(engine, "'")) == 0


def test_a_word_alone_ends_as_asked_and_may_be_long(monkeypatch, engine):
    spoken = []
    monkeypatch.setattr(
        HibariVoices, "_speak", lambda self, run, *rest: spoken.append(run) or np.zeros(1)
    )
    generator = np.random.default_rng(0)
    voices(endings=["?"], lengthened=1.0).say("stop", VOICE, 1.0, generator)
    voices(endings=["!"]).say("stop", VOICE, 1.0, generator)
    voices(endings=["!"]).say("stop it.", VOICE, 1.0, generator)

    assert spoken == ["stˈɑːp?", "stˈɑp!", "stˈɑp ɪt."]


@pytest.mark.parametrize(
    ("phoneme", "known"),
    [
        ("ˈoʊ", "ˈO"),
        ("əʊ", "O"),
        ("ˈɑː", "ˈɑ"),
        ("tʃ", "ʧ"),
        ("ˌɜː", "ˌɜɹ"),
        ("k", "k"),
        ("ç", "ç"),
    ],
)
def test_phonemes_become_those_of_the_network(phoneme, known):
    assert american(phoneme) == known


def test_common_words_can_be_said_in_every_accent(engine):
    accents = "en-us en-us-nyc en en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-029"
    for number, accent in enumerate(accents.split()):
        assert all(engine._phonemes(word, accent) for word in common_words("en")[number::8])


def test_another_language_is_refused(engine):
    with pytest.raises(KwsError, match="English alone, not 'ich' .*data.source.shares.hibari=0"):
        say(engine, "ich", accent="de")


def test_a_person_is_drawn_from_the_ranges():
    generator = np.random.default_rng(0)
    people = [voices().cast(number, generator) for number in range(50)]

    assert all(85 <= person.pitch_hz <= 270 for person in people)
    assert all(0.75 <= factor <= 1.15 for person in people for factor in person.formants)
    assert {person.accent for person in people} == {"en-us", "en", "en-gb-scotland"}
    assert len({person.formants for person in people}) == 50


def test_intonation_moves_the_median_and_scales_what_is_around_it():
    curve = np.array([0, 180, 200, 220, 0], np.float32)

    assert intoned(curve, 100.0, 0.0).tolist() == [0, 100, 100, 100, 0]
    assert intoned(curve, 400.0, 1.0) == pytest.approx([0, 360, 400, 440, 0])
    assert intoned(np.zeros(3, np.float32), 100.0, 1.0).tolist() == [0, 0, 0]


def test_a_spectrum_is_stretched_tilted_and_breathed_on():
    harmonic = np.full((BINS, FRAMES), -8.0, np.float32)
    harmonic[50] = 0  # a formant at 1 kHz
    quiet, phase = np.full_like(harmonic, -15.0), np.zeros_like(harmonic)
    voiced = np.array([True, True, False, False])

    def shape(free=quiet, **changes):
        person = replace(VOICE, **changes)
        return reshaped(harmonic, phase, quiet, free, phase, voiced, person, BIN_HZ)

    assert shape(formants=(1.2, 1.2))[0][:, 0].argmax() == 60
    assert shape(formants=(0.8, 0.8))[0][:, 0].argmax() == 40
    steeper = shape(tilt_db=-6.0)[0] - shape()[0]
    assert steeper[200, 0] == pytest.approx(np.log(10 ** (-6 / 20)) * 2)
    breath = shape(breath_db=-20.0)[2]
    assert breath[50, 3] == pytest.approx(np.log(0.1), abs=0.01)
    loud = shape(free=np.zeros_like(harmonic))
    assert np.all(loud[2][:, :2] > -0.1) and np.all(loud[2][50, 2:] < -6) and loud[2].max() < 0.1
    assert np.all(loud[3][:, :2] < -15) and np.all(loud[3][:, 2:] == 0)


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"pitch_hz": (20.0, 100.0)}, "pitch_hz must be .* from 60.0 to 500"),
        ({"formants": (0.1, 1.0)}, "formants must be .* from 0.5 to 2"),
        ({"formant_spread": 0.6}, "formant_spread must be"),
        ({"endings": []}, "endings must be a list of texts"),
        ({"lengthened": 2}, "lengthened must be a number from 0 to 1"),
    ],
)
def test_settings_that_make_no_people_are_refused(changes, complaint):
    with pytest.raises(KwsError, match=complaint):
        voices(**changes)


def test_without_the_package_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(hibari, "find_spec", lambda name: None)
    with pytest.raises(KwsError, match=r"\[synthetic\].*data.source.shares.hibari=0"):
        voices().origin()


def test_its_origin_names_version_and_licence(engine):
    assert engine.origin().startswith("hibari-tts 0.2.") and "Apache-2.0" in engine.origin()
