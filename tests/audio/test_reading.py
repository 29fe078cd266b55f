"""Reading, mixing, resampling and windowing, with numbers; every kind of bad recording."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from speech_commands_kws.audio.reading import (
    AudioError,
    cut_windows,
    fit_length,
    mono_waveform,
    read_audio,
    resample,
    resample_blocks,
    stream_audio,
)
from speech_commands_kws.errors import KwsError, display_name

RATE = 16_000


def tone(sample_rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return (
        0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)
    ).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_is_the_same_at_any_rate(tmp_path: Path, sample_rate: int) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(sample_rate), sample_rate, subtype="FLOAT")
    waveform = read_audio(tmp_path / "tone.wav", RATE)
    assert waveform.dtype == np.float32
    assert len(waveform) == RATE
    # The ends ring, the middle is exact.
    assert np.abs(waveform - tone(RATE))[1_000:-1_000].max() < 1e-3


@pytest.mark.parametrize(
    ("sound_format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-5),
        ("WAV", "PCM_32", 1e-5),
        ("WAV", "DOUBLE", 1e-6),
        ("WAV", "ULAW", 3e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("CAF", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("MP3", "MPEG_LAYER_III", 5e-2),
    ],
)
def test_any_format(tmp_path: Path, sound_format: str, subtype: str, tolerance: float) -> None:
    soundfile.write(tmp_path / "sound", tone(RATE), RATE, format=sound_format, subtype=subtype)
    waveform = read_audio(tmp_path / "sound", RATE)
    assert len(waveform) == RATE
    assert np.abs(waveform - tone(RATE))[1_000:-1_000].max() < tolerance


def test_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([tone(RATE), np.zeros(RATE), -0.5 * tone(RATE)], axis=1)
    soundfile.write(tmp_path / "three.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "three.wav", RATE), tone(RATE) / 6, atol=1e-6)


def test_a_thousand_channels(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "wide.wav", np.tile(tone(RATE, 0.1)[:, None], (1, 1_024)), RATE, subtype="FLOAT"
    )
    np.testing.assert_allclose(read_audio(tmp_path / "wide.wav", RATE), tone(RATE, 0.1), atol=1e-6)


def test_full_scale_integers_do_not_wrap(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "loud.wav", np.array([-(2**15), 2**15 - 1] * 4_000, np.int16), 48_000
    )
    waveform = read_audio(tmp_path / "loud.wav", 48_000)
    assert waveform.min() == -1.0
    assert waveform.max() == pytest.approx(1.0, abs=1e-4)


def test_bytes_and_pipes_read_like_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(RATE), RATE)
    content = (tmp_path / "tone.wav").read_bytes()
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    expected = read_audio(tmp_path / "tone.wav", RATE)
    np.testing.assert_array_equal(read_audio(io.BytesIO(content), RATE), expected)
    with open(reading, "rb") as pipe:
        np.testing.assert_array_equal(read_audio(pipe, RATE), expected)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(RATE), RATE)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    (tmp_path / "tone.wav").rename(odd)
    assert len(read_audio(odd, RATE)) == RATE
    assert display_name(odd.name) == r"caf\udce9.wav"


@pytest.mark.parametrize("size", [0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_has_no_length_in_its_header(size: int) -> None:
    content = bytearray(wav_bytes(tone(RATE)))
    content[4:8] = content[40:44] = struct.pack("<I", size)
    assert len(read_audio(io.BytesIO(content), RATE)) == RATE


def test_a_streamed_flac_has_no_length_in_its_header() -> None:
    content = bytearray(wav_bytes(tone(RATE), format="FLAC"))
    # The lower 36 of the 64 bits that begin with the rate are the number of samples.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    expected = read_audio(io.BytesIO(wav_bytes(tone(RATE), format="FLAC")), RATE)
    np.testing.assert_array_equal(read_audio(io.BytesIO(content), RATE), expected)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_channels_that_cancel_out_give_one_of_them(tmp_path: Path, noise: float) -> None:
    hiss = noise * np.random.default_rng(0).normal(size=RATE)
    channels = np.stack([tone(RATE), hiss - tone(RATE)], axis=1)
    soundfile.write(tmp_path / "antiphase.wav", channels, RATE, subtype="FLOAT")
    waveform = read_audio(tmp_path / "antiphase.wav", RATE)
    assert any(np.allclose(waveform, channel, atol=1e-6) for channel in channels.T)


@pytest.mark.parametrize(
    ("gains", "weights"),
    [
        # They cancel out all the time, and each is the louder one for a while.
        ([(1.0, -0.9), (0.5, -0.55)], (1.0, 0.0)),
        ([(0.5, -0.55), (1.0, -0.9)], (1.0, 0.0)),
        # They cancel out for a while.
        ([(1.0, 0.9), (1.0, -0.9)], (0.5, 0.5)),
    ],
)
def test_a_file_does_not_switch_channels(
    tmp_path: Path, gains: list[tuple[float, float]], weights: tuple[float, float]
) -> None:
    channels = np.concatenate([np.outer(tone(RATE, 5.0), gain) for gain in gains])
    soundfile.write(tmp_path / "two.wav", channels, RATE, subtype="FLOAT")
    for source in (tmp_path / "two.wav", io.BytesIO((tmp_path / "two.wav").read_bytes())):
        np.testing.assert_allclose(read_audio(source, RATE), channels @ weights, atol=1e-6)


def test_unrelated_channels_are_averaged() -> None:
    channels = np.random.default_rng(0).normal(0, 0.1, (RATE, 16))
    np.testing.assert_allclose(mono_waveform(channels, RATE), channels.mean(axis=1), atol=1e-6)


def wav_bytes(waveform: np.ndarray, sample_rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format=options.pop("format", "WAV"), **options)
    return buffer.getvalue()


def with_rate(sample_rate: int) -> bytes:
    content = bytearray(wav_bytes(tone(RATE)))
    content[24:28] = struct.pack("<I", sample_rate)
    return bytes(content)


def with_sample(value: float) -> bytes:
    waveform = tone(RATE)
    waveform[RATE // 2] = value
    return wav_bytes(waveform, subtype="FLOAT")


def halved(sound_format: str, **options: str) -> bytes:
    content = wav_bytes(tone(RATE, 3), format=sound_format, **options)
    return content[: len(content) // 2]


BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"this is no sound\n" * 100, "is not a sound file"),
    "header cut": (wav_bytes(tone(RATE))[:20], "is not a sound file"),
    "header only": (
        wav_bytes(tone(RATE))[:44],
        "is cut off: its header promises 32000 bytes of audio, 0 are there",
    ),
    "half": (
        wav_bytes(tone(RATE))[:16_044],
        "is cut off: its header promises 32000 bytes of audio, 16000 are there",
    ),
    "last byte": (wav_bytes(tone(RATE))[:-1], "is cut off"),
    "half AIFF": (wav_bytes(tone(RATE), format="AIFF")[:16_000], "is cut off"),
    "half W64": (wav_bytes(tone(RATE), format="W64")[:16_000], "is cut off"),
    "half RF64": (wav_bytes(tone(RATE), format="RF64")[:16_000], "is cut off"),
    "half AU": (wav_bytes(tone(RATE), format="AU")[:16_000], "is cut off"),
    "half FLAC": (
        wav_bytes(tone(RATE, 3), format="FLAC")[:30_000],
        "is damaged or cut off after 0.00 s",
    ),
    "half MP3": (halved("MP3"), "is cut off: its header promises 48000 samples, 2"),
    "half Ogg": (halved("OGG", subtype="VORBIS"), "is cut off within its last page"),
    "half Opus": (halved("OGG", subtype="OPUS"), "is cut off within its last page"),
    "Ogg without its last byte": (wav_bytes(tone(RATE), format="OGG")[:-1], "is cut off within"),
    "no samples": (wav_bytes(np.zeros(0)), "has no samples"),
    "NaN": (with_sample(np.nan), "contains NaN"),
    "infinite": (with_sample(-np.inf), "contains NaN or infinite"),
    "integers as floats": (with_sample(32_767.0), "reaches 3.277e+04 where full scale is 1.0"),
    "1 Hz": (with_rate(1), "has a sample rate of 1 Hz"),
    "10 MHz": (with_rate(10_000_000), "has a sample rate of 10000000 Hz"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_by_name_and_reason(tmp_path: Path, kind: str) -> None:
    content, reason = BAD_FILES[kind]
    path = tmp_path / "bad\nname.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_audio(path, RATE)
    message = str(caught.value)
    assert r"bad\nname.wav " + reason in message
    assert "\n" not in message


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="nowhere.wav does not exist"):
        read_audio(tmp_path / "nowhere.wav", RATE)
    with pytest.raises(AudioError, match="cannot be opened: Is a directory"):
        read_audio(tmp_path, RATE)


def test_a_pipe_among_clips_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.wav")
    with pytest.raises(AudioError, match="clip.wav is a pipe: expected a sound file"):
        read_audio(tmp_path / "clip.wav", RATE)


def test_a_clip_has_at_most_ten_minutes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(601 * 1_000, np.int16), 1_000)
    with pytest.raises(AudioError, match="is longer than 600 s"):
        read_audio(tmp_path / "long.wav", 1_000)
    assert sum(len(block) for block in stream_audio(tmp_path / "long.wav", 1_000)) == 601_000


@pytest.mark.parametrize("from_rate", [1_000, 11_025, 44_100, 768_000])
def test_resampling_in_blocks_equals_resampling_the_whole(from_rate: int) -> None:
    waveform = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    blocks = resample_blocks(np.array_split(waveform, 7), from_rate, RATE)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), resample(waveform, from_rate, RATE))


def test_a_short_clip_is_centred_and_a_long_one_cut_to_its_loudest_part() -> None:
    np.testing.assert_array_equal(fit_length(np.ones(3, np.float32), 6), [0, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(fit_length(np.float32([0, 1, -9, 8, 1, 0]), 3), [1, -9, 8])
    np.testing.assert_array_equal(fit_length(np.float32([1, 2]), 2), [1, 2])
    # Of equally loud windows the first one.
    np.testing.assert_array_equal(fit_length(np.float32([1, 2, 1, 2]), 2), [1, 2])


@pytest.mark.parametrize("parts", [1, 3, 25])
@pytest.mark.parametrize(
    ("samples", "starts"),
    [(4, [-3]), (10, [0]), (11, [0, 1]), (14, [0, 4]), (17, [0, 4, 7]), (22, [0, 4, 8, 12])],
)
def test_windows_cover_every_sample(samples: int, starts: list[int], parts: int) -> None:
    waveform = np.arange(1, samples + 1, dtype=np.float32)
    windows = list(cut_windows(np.array_split(waveform, parts), window_samples=10, hop_samples=4))
    expected = {start: np.arange(start + 1, start + 11) for start in starts}
    if samples < 10:
        expected = {0: np.concatenate((np.zeros(3), waveform, np.zeros(3)))}
    assert [start for start, _ in windows] == list(expected)
    np.testing.assert_array_equal([window for _, window in windows], list(expected.values()))


@pytest.mark.parametrize("hop_samples", [0, -1, 11])
def test_a_hop_that_would_skip_sound_is_refused(hop_samples: int) -> None:
    with pytest.raises(KwsError, match="hop"):
        list(cut_windows([np.zeros(20, np.float32)], 10, hop_samples))


def test_windows_of_a_file_are_those_of_its_blocks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.flac", tone(44_100, 1.75), 44_100)
    blocks = stream_audio(tmp_path / "tone.flac", RATE)
    assert [start / RATE for start, _ in cut_windows(blocks, RATE, RATE // 2)] == [0.0, 0.5, 0.75]


@pytest.mark.parametrize(
    ("convert", "tolerance"),
    [
        (lambda waveform: waveform, 0.0),
        (lambda waveform: waveform.astype(np.float64), 1e-7),
        (lambda waveform: waveform.astype(np.float16), 1e-3),
        (lambda waveform: (waveform * 2**15).astype(np.int16), 1e-4),
        (lambda waveform: (waveform * 2.0**31).astype(np.int32), 1e-6),
        (lambda waveform: (waveform * 128 + 128).astype(np.uint8), 1e-2),
        (lambda waveform: waveform[:, None], 0.0),
        (lambda waveform: np.stack([2 * waveform, np.zeros_like(waveform)], axis=1), 0.0),
        (lambda waveform: waveform[::-1][::-1], 0.0),
    ],
)
def test_arrays_of_any_kind_become_the_same_waveform(convert: Callable, tolerance: float) -> None:
    waveform = mono_waveform(convert(tone(RATE)), RATE)
    assert waveform.dtype == np.float32
    assert np.abs(waveform - tone(RATE)).max() <= tolerance


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0, 64, 128, 255], np.uint8), [-1, -0.5, 0, 127 / 128]),
        (np.array([-(2**15), -1, 0, 2**15 - 1], np.int16), [-1, -(2**-15), 0, 1 - 2**-15]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
    ],
)
def test_integers_are_scaled_exactly(samples: np.ndarray, expected: list[float]) -> None:
    assert mono_waveform(samples, RATE).tolist() == expected


@given(
    waveform=arrays(np.int16, st.integers(1, 2_000)),
    sound_format=st.sampled_from(["WAV", "FLAC", "AIFF", "AU"]),
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_whatever_is_written_without_loss_is_read_back(
    waveform: np.ndarray, sound_format: str
) -> None:
    content = wav_bytes(waveform, format=sound_format)
    assert read_audio(io.BytesIO(content), RATE).tolist() == (waveform / 2**15).tolist()


@given(
    waveform=arrays(np.float32, st.integers(1, 3_000), elements=st.floats(-1, 1, width=16)),
    rates=st.tuples(*[st.sampled_from([8_000, 16_000, 22_050, 44_100])] * 2),
    cuts=st.lists(st.integers(0, 3_000), max_size=4),
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_resampling_keeps_the_duration_and_does_not_see_the_blocks(
    waveform: np.ndarray, rates: tuple[int, int], cuts: list[int]
) -> None:
    whole = resample(waveform, *rates)
    blocks = resample_blocks(np.split(waveform, sorted(cuts)), *rates)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), whole)
    assert abs(len(whole) / rates[1] - len(waveform) / rates[0]) <= 1 / rates[1]


@given(content=st.binary(max_size=200), place=st.integers(0, 60))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_any_bytes_are_sound_or_one_clear_error(content: bytes, place: int) -> None:
    whole = wav_bytes(tone(RATE, 0.01))
    try:
        waveform = read_audio(io.BytesIO(whole[:place] + content + whole[place:]), RATE)
    except AudioError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(waveform).all() and waveform.dtype == np.float32


@pytest.mark.parametrize(
    ("samples", "sample_rate", "reason"),
    [
        (np.zeros(0), RATE, "shape"),
        (np.zeros((10, 0)), RATE, "shape"),
        (np.float32(0.5), RATE, "shape"),
        (np.zeros((2, 3, 4)), RATE, "shape"),
        (np.zeros((2, 16_000)), RATE, "transpose"),
        (np.zeros(10, np.int64), RATE, "type int64"),
        (np.zeros(10, bool), RATE, "type bool"),
        (np.zeros(10, complex), RATE, "type complex128"),
        (np.array(["a", "b"]), RATE, "type <U1"),
        (np.array([0.0, np.nan]), RATE, "NaN"),
        (np.array([0.0, 32_767.0]), RATE, "full scale"),
        (np.array([0.0, 1e300]), RATE, "full scale"),
        (np.zeros(10), 0, "sample rate of 0 Hz"),
        (np.zeros(10), -16_000, "sample rate"),
    ],
)
def test_bad_arrays_are_refused(samples: np.ndarray, sample_rate: int, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        mono_waveform(samples, sample_rate)
