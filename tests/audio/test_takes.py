import wave

import numpy as np
import pytest

from speech_commands_kws.audio.takes import (
    TakeCriteria,
    check_speaker,
    fault,
    keep,
    recorded,
    trim,
    word_frames,
)
from speech_commands_kws.errors import KwsError

RATE = 16_000
CRITERIA = TakeCriteria(
    trim_db=35,
    pause_seconds=0.2,
    margin_seconds=0.1,
    quiet_db=-40,
    noise_db=15,
    clipped_samples=4,
    shortest_seconds=0.1,
    longest_seconds=1.0,
)


def take(*sounds: tuple[float, float], amplitude: float = 0.3, noise: float = 1e-4) -> np.ndarray:
    """Two seconds of faint noise with tones `(start, stop)` in seconds."""
    time = np.arange(2 * RATE) / RATE
    waveform = noise * np.random.default_rng(0).standard_normal(2 * RATE)
    for start, stop in sounds:
        inside = (start <= time) & (time < stop)
        waveform += amplitude * np.sin(2 * np.pi * 300 * time) * inside
    return waveform.astype(np.float32)


@pytest.mark.parametrize(
    "sounds, start, stop",
    [
        ([(0.5, 0.9)], 0.4, 1.0),
        # A closure within the word, as in "stop"; a click of the key long before it.
        ([(0.5, 0.8), (0.9, 1.0)], 0.4, 1.1),
        ([(0.1, 0.12), (0.7, 1.0)], 0.6, 1.1),
        ([(0.02, 0.5)], 0.0, 0.6),
        ([(1.5, 2.0)], 1.4, 2.0),
    ],
)
def test_the_word_is_cut_out_with_its_margins(sounds, start, stop):
    waveform = take(*sounds)
    word = trim(waveform, RATE, CRITERIA)

    assert len(word) / RATE == pytest.approx(stop - start, abs=0.011)
    assert np.array_equal(word, waveform[round(start * RATE) :][: len(word)])


@pytest.mark.parametrize("quiet_frames, first", [(20, 2), (21, 25)])
def test_a_pause_within_a_word_may_last_so_long_and_no_longer(quiet_frames, first):
    levels = np.full(40, -90.0)
    levels[[2, 3]], levels[4 + quiet_frames] = -30, -20
    assert word_frames(levels, 35, 0.2) == (first, 4 + quiet_frames)


@pytest.mark.parametrize(
    "waveform, reason",
    [
        (take((0.5, 1.0)), None),
        (take((0.5, 1.0), amplitude=0.01), "too quiet (-43 dBFS)"),
        (take(), "too quiet"),
        (np.full(2 * RATE, np.nan, np.float32), "no sound"),
        (np.zeros(2 * RATE, np.float32), "too quiet (-200 dBFS)"),
        (take((0.5, 1.0), noise=0.1), "dB above the noise"),
        (np.clip(take((0.5, 1.0), amplitude=1.5), -1, 1), "too loud, it is clipped"),
        (take((0.5, 0.55)), "only 0.05 s of sound"),
        (take((0.3, 1.6)), "1.30 s of sound: say the word once"),
    ],
)
def test_a_bad_take_is_refused_with_the_reason(waveform, reason):
    found = fault(waveform, RATE, CRITERIA)
    assert found == reason if reason is None else reason in found


@pytest.mark.parametrize("speaker", ["", "a/b", ".a", "a b", "a_nohash_1", "a*"])
def test_a_speaker_that_would_spoil_the_names_is_refused(speaker):
    with pytest.raises(KwsError, match="speaker: expected a name of letters"):
        check_speaker(speaker)
    check_speaker("anna-2.b")


def test_clips_are_numbered_on_and_never_overwritten(tmp_path):
    folder = tmp_path / "lights"
    first = keep(take((0.5, 1.0)), RATE, folder, "anna")
    content = first.read_bytes()
    (folder / "anna_nohash_1.wav").write_bytes(b"mine")
    third = keep(np.full(RATE, 2.0, np.float32), RATE, folder, "anna")

    assert [path.name for path in (first, third)] == ["anna_nohash_0.wav", "anna_nohash_2.wav"]
    assert first.read_bytes() == content
    assert (folder / "anna_nohash_1.wav").read_bytes() == b"mine"
    assert recorded(folder, "anna") == 3 and recorded(folder, "ann") == 0
    assert len(list(folder.iterdir())) == 3
    with wave.open(str(third)) as sound:
        assert sound.getparams()[:4] == (1, 2, RATE, RATE)
        assert set(np.frombuffer(sound.readframes(RATE), np.int16)) == {32767}


def test_a_clip_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wave.Wave_write, "writeframes", full)
    with pytest.raises(KwsError, match="No space left on device"):
        keep(take((0.5, 1.0)), RATE, tmp_path, "anna")
    assert list(tmp_path.iterdir()) == []
