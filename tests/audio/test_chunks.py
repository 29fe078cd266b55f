import io
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speech_commands_kws.audio import chunks
from speech_commands_kws.audio.chunks import file_chunks, pipe_chunks
from speech_commands_kws.audio.reading import AudioError
from speech_commands_kws.errors import KwsError

RATE = 16_000
FORMATS = {"PCM_U8": 0.01, "PCM_16": 1e-4, "PCM_32": 1e-7, "FLOAT": 1e-7}


def tone(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype("f4")


class SlowPipe(io.BytesIO):
    """Gives a few bytes at a time, and odd numbers of them."""

    name = "<stdin>"

    def read1(self, size: int = -1) -> bytes:
        return super().read1(min(size, 777))


def wav(waveform: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, format="WAV", subtype=subtype)
    return stream.getvalue()


def piped(data: bytes, **options) -> np.ndarray:
    return np.concatenate(list(pipe_chunks(SlowPipe(data), RATE, **options)))


@pytest.mark.parametrize(("subtype", "tolerance"), FORMATS.items())
def test_a_wav_of_a_pipe_says_what_it_is(subtype: str, tolerance: float) -> None:
    heard = piped(wav(tone(), subtype=subtype))
    assert heard.dtype == np.float32 and len(heard) == 2 * RATE
    assert np.abs(heard - tone()).max() < tolerance


@pytest.mark.parametrize("promised", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_that_promises_nothing_is_heard_to_its_end(promised: int) -> None:
    data = wav(tone())
    place = data.index(b"data") + 4
    assert len(piped(data[:place] + struct.pack("<I", promised) + data[place + 4 :])) == 2 * RATE


def test_what_follows_the_sound_of_a_wav_is_no_sound() -> None:
    assert len(piped(wav(tone()) + b"LIST\x10\0\0\0" + bytes(16))) == 2 * RATE


def test_an_extensible_wav_and_a_chunk_before_its_sound() -> None:
    form = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, 2 * RATE, 2, 16)
    form += struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    header = b"RIFF\xff\xff\xff\xffWAVE" + chunk + b"fmt " + struct.pack("<I", len(form)) + form
    samples = np.round(tone() * 32767).astype("<i2").tobytes()
    heard = piped(header + b"data" + struct.pack("<I", len(samples)) + samples)
    assert np.abs(heard - tone()).max() < 1e-4 and len(heard) == 2 * RATE


def test_raw_samples_have_the_rate_and_channels_that_are_said() -> None:
    samples = np.round(tone(2, 48_000) * 32767).astype("<i2")
    stereo = np.stack([samples, np.zeros_like(samples)], axis=1).tobytes()
    heard = piped(stereo, rate=48_000, channels=2)
    assert len(heard) == pytest.approx(2 * RATE, abs=1)
    assert np.abs(heard[500:-500]).max() == pytest.approx(0.25, abs=0.01)
    assert len(piped(samples.tobytes())) == 6 * RATE  # the model's rate, one channel


def test_sound_comes_as_soon_as_it_is_there() -> None:
    stream = SlowPipe(bytes(4 * RATE))
    first = next(pipe_chunks(stream, RATE))
    assert len(first) == (777 + 12) // 2 and stream.tell() == 777 + 12


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "<stdin> is empty"),
        (b"fLaC" + bytes(100), "neither WAV nor raw"),
        (wav(tone())[:30], "ends within its header"),
        (wav(tone(), subtype="PCM_24"), "format 1 with 24 bits and 1 channels: expected"),
        (wav(tone(), rate=100), "sample rate of 100 Hz"),
    ],
)
def test_what_is_no_sound_is_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(AudioError, match=complaint):
        piped(data)


@pytest.mark.parametrize("options", [{"rate": 0}, {"channels": 0}, {"rate": "fast"}])
def test_what_is_no_rate_is_refused(options: dict) -> None:
    with pytest.raises(KwsError, match="must be a whole number of 1 or more"):
        piped(bytes(100), **options)


def test_a_file_comes_at_the_speed_that_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    soundfile.write(tmp_path / "tone.flac", np.tile(tone(2, 44_100)[:, None], 2), 44_100)
    clock = [100.0]

    def wait(seconds: float) -> None:
        clock[0] += seconds

    slow = SimpleNamespace(monotonic=lambda: clock[0], sleep=wait)
    monkeypatch.setattr(chunks, "time", slow)
    heard = []
    for chunk in file_chunks(tmp_path / "tone.flac", RATE, speed=4.0, chunk_ms=50):
        heard.append(chunk)
        assert clock[0] - 100 == pytest.approx(sum(map(len, heard)) / RATE / 4)
    assert max(map(len, heard)) == 800 and sum(map(len, heard)) == 2 * RATE
    whole = np.concatenate(list(file_chunks(tmp_path / "tone.flac", RATE, speed=0)))
    assert np.array_equal(np.concatenate(heard), whole)
    assert clock[0] - 100 == pytest.approx(0.5)


def test_a_file_is_not_waited_for_unless_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(30), RATE)
    begin = time.monotonic()
    assert sum(map(len, file_chunks(tmp_path / "tone.wav", RATE, speed=0))) == 30 * RATE
    assert time.monotonic() - begin < 10
    with pytest.raises(KwsError, match="speed must be a number of 0 or more, got -1"):
        file_chunks(tmp_path / "tone.wav", RATE, speed=-1)
