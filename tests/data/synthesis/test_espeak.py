import subprocess
import sys

import numpy as np
import pytest

from speech_commands_kws.data.synthesis import espeak
from speech_commands_kws.data.synthesis.espeak import Espeak, EspeakVoices, Voice
from speech_commands_kws.errors import KwsError

VOICE = Voice("en-us", "f2", 50, 50, 160)
# A voice with breath, which espeak-ng draws from a generator that it seeds with the time.
PRINT_HASH = """
import hashlib
from speech_commands_kws.data.synthesis.espeak import Espeak, Voice
engine, voice = Espeak(), Voice("en-us", "f2", 50, 50, 160)
said = b"".join(engine.say(word, voice).tobytes() for word in ("go", "stop"))
print(hashlib.sha1(said).hexdigest())
"""


@pytest.fixture
def engine():
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    return Espeak()


def test_speech_has_a_length_a_level_and_room_before_clipping(engine):
    said = engine.say("seven", VOICE)

    assert engine.sample_rate == 22_050
    assert said.dtype == np.float32 and said.ndim == 1
    assert 0.3 < len(said) / engine.sample_rate < 1
    assert 0.02 < np.abs(said).max() < 0.9


def test_rate_and_pitch_are_heeded(engine):
    def length(rate):
        return len(engine.say("computer", Voice("en-us", "m3", 50, 50, rate)))

    def pitch_hz(pitch):
        said = engine.say("aah", Voice("en-us", "m3", pitch, 0, 120))
        middle = said[len(said) // 3 : 2 * len(said) // 3]
        shifted = np.correlate(middle, middle, "full")[len(middle) - 1 :]
        shortest = engine.sample_rate // 300
        return engine.sample_rate / (
            shortest + shifted[shortest : engine.sample_rate // 60].argmax()
        )

    assert length(130) > 1.3 * length(220)
    assert pitch_hz(80) > 1.3 * pitch_hz(20)


def test_engines_of_one_process_do_not_take_each_others_sound(engine):
    Espeak()
    assert len(engine.say("computer", VOICE))


def test_nothing_to_say_is_an_empty_waveform(engine):
    assert np.abs(engine.say(" ", VOICE)).max(initial=0) == 0


def test_a_fresh_process_says_the_same_whatever_the_time_of_day(engine):
    hashes = []
    for second in (0, 1):
        wait = f"import time\ntime.sleep({second})\n"
        command = [sys.executable, "-c", wait + PRINT_HASH]
        hashes.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert hashes[0] == hashes[1] != ""


@pytest.mark.parametrize(
    "voice, complaint",
    [
        (Voice("en-us", "nobody", 50, 50, 160), "no voice 'nobody'"),
        (Voice("atlantis", "f2", 50, 50, 160), "no accent 'atlantis'"),
    ],
)
def test_an_unknown_voice_or_accent_is_refused(engine, voice, complaint):
    with pytest.raises(KwsError, match=complaint):
        engine.say("yes", voice)


def test_data_in_a_very_deep_folder_is_found(engine, tmp_path, monkeypatch):
    import espeakng_loader

    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    (deep / "data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep / "data"))

    assert len(Espeak().say("yes", VOICE)) > 0


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)

    with pytest.raises(KwsError, match=r'pip install "speech-commands-kws\[synthetic\]"'):
        Espeak()


def voices(variants=12, **changes):
    names = [f"v{i}" for i in range(variants)]
    settings = {"accents": ["en-us", "en"], "pitch": (25, 75), "pitch_range": (30, 70)}
    return EspeakVoices(names, **{**settings, "pitch_jitter": 5, **changes})


def test_a_variant_is_of_speakers_whose_numbers_end_alike():
    generator = np.random.default_rng(0)
    cast = [voices(25).cast(number, generator) for number in range(60)]

    assert [voice.variant for voice in cast[:25]] == [f"v{i}" for i in range(25)]
    assert {voice.variant for voice in cast[4::10]} == {"v4", "v14", "v24"}
    assert {voice.variant for voice in cast[8::10]} == {"v8", "v18"}
    assert {voice.accent for voice in cast} == {"en-us", "en"}
    assert all(25 <= voice.pitch <= 75 and 30 <= voice.pitch_range <= 70 for voice in cast)


def test_a_take_is_near_the_pitch_of_its_speaker_and_as_fast_as_asked(monkeypatch):
    said = []

    class Recorder:
        sample_rate = 22_050

        def say(self, text, voice):
            said.append(voice)
            return np.zeros(1, np.float32)

    monkeypatch.setattr(EspeakVoices, "engine", Recorder())
    generator = np.random.default_rng(0)
    for speed in (0.1, 0.8, 2.0, 3.0):
        for _ in range(20):
            _, rate = voices().say("yes", Voice("en-us", "v1", 98, 50, 175), speed, generator)

    assert rate == 22_050
    assert [voice.rate for voice in said[::20]] == [80, 140, 350, 450]
    assert {voice.pitch for voice in said} > {95, 99, 100} and max(
        voice.pitch for voice in said
    ) == 100


def test_settings_that_make_no_voices_are_refused():
    with pytest.raises(KwsError, match="variants must be a whole number of 10 or more, got 9"):
        voices(9)
    with pytest.raises(KwsError, match="pitch must be .* from 0 to 100"):
        voices(pitch=(25, 175))


def test_its_origin_names_version_and_licence(engine):
    assert voices().origin().startswith("espeak-ng of espeakng-loader 0.")
    assert "GPL-3.0" in voices().origin()
