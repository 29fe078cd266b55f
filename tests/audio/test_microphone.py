"""PortAudio is played by a stand-in with the functions of sounddevice that are used."""

import builtins
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from speech_commands_kws.audio import microphone
from speech_commands_kws.audio.microphone import Microphone, MicrophoneStream
from speech_commands_kws.errors import KwsError


class PortAudioError(Exception):
    pass


class StandIn(SimpleNamespace):
    """Notes the calls; `trouble` is what they raise."""

    PortAudioError = PortAudioError

    def __init__(self):
        super().__init__(calls=[], trouble=None)

    def _do(self, *call):
        self.calls.append(call)
        if self.trouble is not None:
            raise self.trouble

    def query_devices(self, device, kind):
        self._do("query", device, kind)
        return {"default_samplerate": 44100.0, "max_input_channels": 2}

    def rec(self, frames, samplerate, channels, dtype, device, blocking):
        self._do("rec", frames, samplerate, channels, dtype, device, blocking)
        return np.arange(frames, dtype=dtype)[:, None]

    def play(self, waveform, samplerate, blocking):
        self._do("play", len(waveform), samplerate, blocking)


@pytest.fixture
def portaudio(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "sounddevice", stand_in)
    return stand_in


def test_it_records_and_plays_at_the_rate_of_the_device(portaudio):
    device = Microphone("usb")
    heard = device.record(0.5)
    device.play(heard)

    assert device.sample_rate == 44_100
    assert heard.shape == (22_050,) and heard.dtype == np.float32
    assert portaudio.calls == [
        ("query", "usb", "input"),
        ("rec", 22_050, 44_100, 1, "float32", "usb", True),
        ("play", 22_050, 44_100, True),
    ]


@pytest.mark.parametrize("error", [PortAudioError("Error querying device -1"), ValueError("No\nx")])
def test_no_microphone_is_one_line(portaudio, error):
    portaudio.trouble = error
    with pytest.raises(KwsError, match="expected a microphone, found none") as raised:
        Microphone()
    assert "\n" not in str(raised.value)


def test_a_microphone_in_use_is_one_line(portaudio):
    device = Microphone()
    portaudio.trouble = PortAudioError("Device unavailable [PaErrorCode -9985]")
    with pytest.raises(KwsError, match="the microphone cannot be used .*close what else uses it"):
        device.record(1)
    with pytest.raises(KwsError, match="nothing can be played .*playback=false"):
        device.play(np.zeros(3, np.float32))


def test_no_portaudio_is_one_line(monkeypatch):
    real_import = builtins.__import__

    def without_portaudio(name, *rest):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_portaudio)
    with pytest.raises(KwsError, match="expected the library PortAudio, .*libportaudio2"):
        Microphone()


class Streams(StandIn):
    """Opens streams that hear as many blocks as `speak` says; a rate or a channel count may be refused."""

    def __init__(self):
        super().__init__()
        self.refused, self.opened, self.restarts = set(), [], 0

    def InputStream(self, samplerate, channels, dtype, device, blocksize, callback):
        self._do("open", samplerate, channels, device)
        if {samplerate, channels} & self.refused:
            raise PortAudioError("Invalid sample rate")
        self.opened.append(
            SimpleNamespace(
                samplerate=float(samplerate),
                channels=channels,
                blocksize=blocksize,
                callback=callback,
                start=lambda: None,
                close=lambda: self.calls.append("close"),
            )
        )
        return self.opened[-1]

    def _terminate(self):
        self.restarts += 1

    def _initialize(self):
        self.trouble = None

    def speak(self, blocks, value=0.5, overflow=False):
        stream = self.opened[-1]
        for _ in range(blocks):
            samples = np.full((stream.blocksize, stream.channels), value, np.float32)
            status = SimpleNamespace(input_overflow=overflow)
            stream.callback(samples, stream.blocksize, None, status)
            samples[:] = np.nan  # PortAudio takes its memory back


@pytest.fixture
def streams(monkeypatch):
    stand_in = Streams()
    monkeypatch.setitem(sys.modules, "sounddevice", stand_in)
    monkeypatch.setattr(microphone, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(microphone, "RETRY_SECONDS", 0.01)
    return stand_in


def test_a_stream_is_heard_at_the_rate_of_the_model(streams):
    stream = MicrophoneStream(16_000, "usb")
    streams.speak(20)
    chunks = iter(stream)
    heard = np.concatenate([next(chunks) for _ in range(20)])
    stream.close()
    assert ("open", 16_000, 1, "usb") in streams.calls and streams.calls[-1] == "close"
    assert heard.shape == (16_000,) and set(heard) == {0.5} and stream.lost_seconds == 0


def test_a_rate_or_a_channel_count_that_a_device_lacks_is_converted(streams):
    streams.refused = {16_000, 1}
    stream = MicrophoneStream(16_000)
    assert [call[1:3] for call in streams.calls if call[0] == "open"] == [
        (16_000, 1),
        (44_100, 1),
        (44_100, 2),
    ]
    streams.speak(22)
    chunks = iter(stream)
    heard = np.concatenate([next(chunks) for _ in range(22)])
    assert len(heard) == pytest.approx(1.1 * 16_000, abs=800)
    assert np.abs(heard[2_000:-2_000] - 0.5).max() < 1e-3
    streams.refused = {16_000, 44_100}
    with pytest.raises(KwsError, match="cannot be used .Invalid sample rate.: close what else"):
        MicrophoneStream(16_000)


def test_sound_that_nobody_takes_is_lost_and_counted(streams, capsys):
    stream = MicrophoneStream(16_000, queue_seconds=1.0)
    streams.speak(20 + 1 + 40)
    assert stream.lost_seconds == pytest.approx(2.0)
    chunks = iter(stream)
    assert sum(len(next(chunks)) for _ in range(21)) == 21 * 800
    streams.speak(2, overflow=True)
    assert stream.lost_seconds == pytest.approx(2.1)
    assert capsys.readouterr().err.splitlines() == [
        "2.0 s of sound were lost so far: this machine, or what reads the events, is too slow"
    ]


def test_a_device_that_vanishes_is_heard_again_when_it_is_back(streams, capsys):
    stream = MicrophoneStream(16_000)
    streams.speak(2)
    chunks = iter(stream)
    assert len(next(chunks)) + len(next(chunks)) == 1_600
    # It comes back, after PortAudio was started again, with another rate.
    streams.trouble = PortAudioError("Device unavailable")
    streams.refused = {16_000}
    opened = streams.InputStream

    def open_and_speak(**settings):
        found = opened(**settings)
        streams.speak(10)
        return found

    streams.InputStream = open_and_speak
    heard = next(chunk for chunk in chunks if len(chunk))
    assert streams.restarts == 1 and streams.opened[-1].samplerate == 44_100
    assert np.isfinite(heard).all() and stream.lost_seconds > 0.05
    assert capsys.readouterr().err.splitlines()[:2] == [
        "the microphone is gone: waiting for it",
        "the microphone is back",
    ]
