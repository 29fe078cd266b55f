"""PortAudio is played by a stand-in with the functions of sounddevice that are used."""

import builtins
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from speech_commands_kws.audio.microphone import Microphone
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
        return {"default_samplerate": 44100.0}

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
    microphone = Microphone("usb")
    heard = microphone.record(0.5)
    microphone.play(heard)

    assert microphone.sample_rate == 44_100
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
    microphone = Microphone()
    portaudio.trouble = PortAudioError("Device unavailable [PaErrorCode -9985]")
    with pytest.raises(KwsError, match="the microphone cannot be used .*close what else uses it"):
        microphone.record(1)
    with pytest.raises(KwsError, match="nothing can be played .*playback=false"):
        microphone.play(np.zeros(3, np.float32))


def test_no_portaudio_is_one_line(monkeypatch):
    real_import = builtins.__import__

    def without_portaudio(name, *rest):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_portaudio)
    with pytest.raises(KwsError, match="expected the library PortAudio, .*libportaudio2"):
        Microphone()
