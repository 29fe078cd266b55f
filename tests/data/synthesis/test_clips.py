from dataclasses import replace

import numpy as np
import pytest
import soundfile

from speech_commands_kws.data.synthesis.clips import (
    Babble,
    Chunk,
    Line,
    Take,
    run_chunk,
    speak,
    speak_babble,
    speak_clip,
    speak_word,
    trim,
)
from speech_commands_kws.data.synthesis.espeak import EspeakVoices, Voice
from speech_commands_kws.data.synthesis.speakers import Person
from speech_commands_kws.errors import KwsError

RATE = 16_000
VOICE = Voice("en-us", "m3", 50, 50, 175)
LINE = Line("yes", Person("espeak", VOICE, speed=0.9, size=1.0), 0)
TAKE = Take("yes/a_nohash_0.wav", LINE, 0.5, -20.0, -60.0, 1.0, 7)
VARIANTS = [f"m{i}" for i in range(1, 9)] + ["f1", "f2"]


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    return {"espeak": EspeakVoices(VARIANTS, ["en-us"], (25, 75), (30, 70), 0)}


def spoken_by(line, **changes):
    return replace(line, person=replace(line.person, **changes))


def word_bounds(clip):
    loud = np.flatnonzero(np.abs(clip) > 0.02)
    return loud[0], loud[-1]


def test_a_clip_holds_the_word_at_its_level_over_its_noise_floor(engine):
    word = speak_word(engine, LINE, RATE, RATE)
    clip = speak_clip(engine, TAKE, RATE, RATE)
    start, end = word_bounds(clip)

    assert clip.shape == (RATE,) and clip.dtype == np.float32
    # The level is that of the whole word: espeak-ng is about 0.1 s quieter than it at either end.
    energy = np.sum(np.square(clip.astype(np.float64))) / len(word)
    assert 10 * np.log10(energy) == pytest.approx(-20, abs=0.5)
    assert 20 * np.log10(np.std(clip[:1600])) == pytest.approx(-60, abs=4)
    assert (start + end) / 2 == pytest.approx(RATE / 2, abs=0.1 * RATE)
    assert end - start < len(word) < RATE


@pytest.mark.parametrize("position, room_before", [(0.0, 0.0), (1.0, 1.0)])
def test_position_moves_the_word_and_never_cuts_it(engine, position, room_before):
    length = len(speak_word(engine, LINE, RATE, RATE))
    quiet = replace(TAKE, position=position, floor_db=-120.0)
    heard = np.flatnonzero(np.abs(speak_clip(engine, quiet, RATE, RATE)) > 1e-4)

    assert heard[0] == pytest.approx(room_before * (RATE - length), abs=0.02 * RATE)
    assert heard[-1] - heard[0] == pytest.approx(length, abs=0.03 * RATE)


def test_a_loud_level_does_not_clip(engine):
    clip = speak_clip(engine, replace(TAKE, level_db=0.0), RATE, RATE)

    assert 0.85 < np.abs(clip).max() < 1


def test_a_slow_voice_hurries_until_the_word_fits(engine):
    slow = spoken_by(replace(LINE, text="elephant"), speed=0.5)

    assert len(speak_word(engine, slow, RATE, RATE // 2)) <= RATE // 2
    assert len(speak_word(engine, slow, RATE, RATE)) > RATE // 2


@pytest.mark.parametrize(
    "word, complaint",
    [
        ("antidisestablishmentarianism and so on", "'antidis.* is longer than a clip of 1 s"),
        ("'", "says nothing for the word"),
    ],
)
def test_a_word_that_cannot_be_a_clip_is_named(engine, word, complaint):
    with pytest.raises(KwsError, match=complaint):
        speak_clip(engine, replace(TAKE, line=replace(LINE, text=word)), RATE, RATE)


def test_a_larger_person_has_lower_frequencies_and_speaks_as_fast(engine):
    def centre_hz(speech):
        power = np.abs(np.fft.rfft(speech)) ** 2
        return power @ np.fft.rfftfreq(len(speech), 1 / RATE) / power.sum()

    text = "we walked along the river to the market"
    usual, large = (
        trim(speak(engine, spoken_by(replace(LINE, text=text), size=size), RATE))
        for size in (1.0, 1.25)
    )
    assert len(large) == pytest.approx(len(usual), rel=0.1)
    assert centre_hz(large) == pytest.approx(centre_hz(usual) / 1.25, rel=0.1)


def test_trim_cuts_only_what_is_60_db_below_the_peak():
    waveform = np.array([0, 1e-4, 0.5, 0, -1e-3, 1e-4, 0], np.float32)

    assert trim(waveform).tolist() == waveform[2:5].tolist()
    assert trim(np.zeros(5, np.float32)).size == 0


def test_babble_fills_its_length_at_its_level_and_has_no_pause(engine):
    text = "we walked along the river to the market"
    voices = [replace(VOICE, variant=variant) for variant in ("m3", "f2", "f4", "m7")]
    lines = [spoken_by(replace(LINE, text=text), voice=voice) for voice in voices]
    babble = Babble("b.wav", lines, 4.0, -24.0, 0)
    waveform = speak_babble(engine, babble, RATE)

    frames = waveform.reshape(-1, RATE // 4)
    assert waveform.shape == (4 * RATE,)
    assert 20 * np.log10(np.std(waveform)) == pytest.approx(-24, abs=0.2)
    assert 20 * np.log10(np.std(frames, axis=1).min()) > -40


def test_a_chunk_made_in_a_process_of_its_own_ends_with_its_complaint(engine, tmp_path):
    nobody = spoken_by(LINE, voice=replace(VOICE, variant="nobody"))
    takes = [TAKE, replace(TAKE, line=nobody)]

    with pytest.raises(KwsError, match="^espeak-ng has no voice 'nobody'"):
        run_chunk(Chunk(str(tmp_path), engine, RATE, RATE, takes, []))
    assert soundfile.info(tmp_path / TAKE.path).frames == RATE
