"""The whole command, with a device that plays prepared sound into it."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speech_commands_kws import record

DEVICE_RATE = 48_000


def said(amplitude: float = 0.3, hz: float = 300.0) -> np.ndarray:
    """Two seconds with a tone from 0.5 to 1.0 s."""
    time = np.arange(2 * DEVICE_RATE) / DEVICE_RATE
    inside = (0.5 <= time) & (time < 1.0)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    return (amplitude * np.sin(2 * np.pi * hz * time) * inside + noise).astype(np.float32)


class PreparedDevice:
    """Hears one prepared take after the other; an exception among them is raised."""

    sample_rate = DEVICE_RATE

    def __init__(self, takes):
        self.takes = list(takes)
        self.played = []
        self.listened = []

    def record(self, seconds):
        self.listened.append(seconds)
        heard = self.takes.pop(0)
        if not isinstance(heard, np.ndarray):
            raise heard
        return heard

    def play(self, waveform):
        self.played.append(len(waveform) / DEVICE_RATE)


@pytest.fixture
def kws_record(tmp_path, monkeypatch, type_kws):
    """Runs `kws record` in `tmp_path` with a device that hears the takes; the answers go to its questions."""
    monkeypatch.chdir(tmp_path)
    real_build = record.build

    def run(*arguments, takes=(), answers=()):
        device, waits, given = PreparedDevice(takes), [], iter(answers)
        monkeypatch.setattr(
            record,
            "build",
            lambda node: device if "Microphone" in node._target_ else real_build(node),
        )
        monkeypatch.setattr(time, "sleep", waits.append)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lambda: next(given)))
        done = type_kws("record", *arguments)
        lines = done.err.splitlines()
        return SimpleNamespace(**done._asdict(), device=device, waits=waits, lines=lines)

    return run


def clips(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_clips_of_a_word_are_recorded_trimmed_and_resampled(kws_record, tmp_path):
    done = kws_record("word=lights", "speaker=anna", "count=2", takes=[said(), said(hz=400)])

    assert done.status == 0
    folder = tmp_path / "recordings" / "lights"
    assert clips(folder) == ["anna_nohash_0.wav", "anna_nohash_1.wav"]
    assert [Path(line).name for line in done.out.splitlines()] == clips(folder)
    for name, hz in (("anna_nohash_0.wav", 300), ("anna_nohash_1.wav", 400)):
        waveform, rate = soundfile.read(folder / name)
        assert rate == 16_000 and waveform.ndim == 1
        assert len(waveform) / rate == pytest.approx(0.7, abs=0.011)
        assert np.abs(waveform).max() == pytest.approx(0.3, rel=0.02)
        spectrum = np.abs(np.fft.rfft(waveform))
        assert np.fft.rfftfreq(len(waveform), 1 / rate)[spectrum.argmax()] == pytest.approx(
            hz, 0.01
        )
    assert done.device.listened == [2.0, 2.0] and done.waits == [1, 1]
    assert "lights (1 of 2) in 1 …" in done.lines and "lights (2 of 2): now" in done.lines


def test_a_speaker_may_look_like_a_number(kws_record, tmp_path):
    assert kws_record("word=lights", "speaker=590750e8", "count=1", takes=[said()]).status == 0
    assert clips(tmp_path / "recordings" / "lights") == ["590750e8_nohash_0.wav"]


def test_a_bad_take_is_repeated(kws_record, tmp_path):
    done = kws_record(
        "word=lights", "speaker=anna", "count=1", takes=[said(0.001), said(2.0).clip(-1, 1), said()]
    )

    assert done.status == 0 and clips(tmp_path / "recordings") == ["lights/anna_nohash_0.wav"]
    assert sum(line.endswith("; once more") for line in done.lines) == 2
    assert any(line.startswith("too quiet") for line in done.lines)
    assert any(line.startswith("too loud") for line in done.lines)


def test_a_microphone_that_hears_nothing_ends_it(kws_record, tmp_path):
    done = kws_record("word=lights", "speaker=anna", "attempts=3", takes=[said(0.0)] * 9)

    assert done.status == 1 and len(done.device.listened) == 3
    assert done.lines[-1].startswith(
        "error: 3 takes in a row were no good, the last one: too quiet"
    )
    assert clips(tmp_path) == []


def test_an_interrupted_session_goes_on(kws_record, tmp_path):
    arguments = ("word=lights", "speaker=anna", "count=3")
    first = kws_record(*arguments, takes=[said(), KeyboardInterrupt()])
    assert first.status == 130
    assert first.lines[-2:] == [
        "1 of 3 are there; the same command goes on",
        "error: interrupted",
    ]
    kept = (tmp_path / "recordings/lights/anna_nohash_0.wav").read_bytes()

    second = kws_record(*arguments, takes=[said(), said()])
    assert second.status == 0 and "lights (2 of 3): now" in second.lines
    assert len(clips(tmp_path / "recordings")) == 3
    assert (tmp_path / "recordings/lights/anna_nohash_0.wav").read_bytes() == kept

    third = kws_record(*arguments)
    assert third.status == 1
    assert third.lines[-1].startswith("error: 3 clips by anna lie in")
    # Another speaker begins anew.
    assert kws_record("word=lights", "speaker=ben", "count=1", takes=[said()]).status == 0


def test_playback_lets_the_speaker_choose(kws_record, tmp_path):
    done = kws_record(
        *("word=lights", "speaker=anna", "count=2", "playback=true"),
        takes=[said(), said(), said()],
        answers=["r\n", "\n", ""],  # the last one: standard input is closed
    )

    assert done.status == 0
    assert done.device.played == [pytest.approx(0.7, abs=0.011)] * 3
    assert clips(tmp_path / "recordings") == [
        "lights/anna_nohash_0.wav",
        "lights/anna_nohash_1.wav",
    ]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "expected a value for word"),
        (["word=_unknown_"], "word must be words of letters"),
        (["word=lights", "speaker=a/b"], "speaker: expected a name"),
        (["word=lights", "count=0"], "count must be a whole number of 1 or more, got 0"),
        (["word=lights", "take_seconds=1"], "take_seconds must be more than"),
    ],
)
def test_mistakes_are_one_line(kws_record, arguments, complaint, tmp_path):
    done = kws_record(*arguments, takes=[])

    assert done.status == 1 and len(done.lines) == 1
    assert complaint in done.lines[0]
    assert clips(tmp_path) == []


def test_the_speaker_is_the_account_unless_named(kws_record, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "getuser", lambda: "carla")
    kws_record("word=lights", "count=1", takes=[said()])
    assert clips(tmp_path / "recordings") == ["lights/carla_nohash_0.wav"]
