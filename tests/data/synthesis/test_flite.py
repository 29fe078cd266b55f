"""The voices of flite, where its library is installed."""

import ctypes

import numpy as np
import pytest

from speech_commands_kws.data.synthesis import flite
from speech_commands_kws.data.synthesis.flite import FliteVoice, FliteVoices
from speech_commands_kws.errors import KwsError


def voices(names=("slt", "awb"), **changes):
    return FliteVoices(names, **{"pitch_hz": (90.0, 200.0), "pitch_jitter": 0.0, **changes})


@pytest.fixture(scope="module")
def engine():
    try:
        ctypes.CDLL(flite.LIBRARY)
    except OSError:
        pytest.skip("flite is not installed (Debian: libflite1)")
    return voices()


def say(engine, text="computer", name="slt", pitch_hz=180.0, speed=1.0):
    said, rate = engine.say(text, FliteVoice(name, pitch_hz), speed, np.random.default_rng(0))
    assert rate == 16_000 and said.dtype == np.float32 and 0.05 < np.abs(said).max() < 1
    return said


def test_voices_and_speeds_differ(engine):
    assert len(say(engine, speed=0.8)) > 1.5 * len(say(engine, speed=1.4))
    assert len(say(engine, name="awb")) != len(say(engine))


@pytest.mark.parametrize("asked", [100.0, 200.0])
def test_a_word_has_the_pitch_of_its_speaker(engine, asked):
    said = say(engine, "no", pitch_hz=asked).astype(np.float64)
    loudest = np.convolve(said**2, np.ones(1600), "valid").argmax()
    middle = said[loudest : loudest + 1600]
    alike = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    period = 40 + alike[40 : 16_000 // 60].argmax()

    assert 16_000 / period == pytest.approx(asked, rel=0.15)


def test_its_origin_is_told(engine):
    assert engine.origin().startswith("flite 2")


def test_speakers_are_drawn_from_voices_and_pitches():
    generator = np.random.default_rng(0)
    cast = [voices().cast(number, generator) for number in range(40)]

    assert {voice.name for voice in cast} == {"slt", "awb"}
    assert all(90 <= voice.pitch_hz <= 200 for voice in cast)


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(flite, "LIBRARY", "libnone.so.1")
    with pytest.raises(KwsError, match="apt install libflite1, .*data.source.shares.flite=0"):
        voices().origin()


def test_a_voice_that_is_not_there_is_named(engine):
    with pytest.raises(KwsError, match="expected libflite_cmu_us_nobody.so.1 of flite"):
        say(voices(names=["nobody"]), name="nobody")


def test_settings_that_make_no_voices_are_refused():
    with pytest.raises(KwsError, match="pitch_hz must be .* from 50 to 500"):
        voices(pitch_hz=(10.0, 90.0))
