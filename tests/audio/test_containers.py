"""Files of which libsndfile would read a part, or the wrong thing, without a word."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech_commands_kws.audio.reading import AudioError, read_audio

RATE = 16_000
# Two frames of the longest kind.
MP3_TOLERANCE = 2_304


def hiss(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE))


def sound_bytes(waveform: np.ndarray, sound_format: str = "WAV", **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, RATE, format=sound_format, **options)
    return buffer.getvalue()


def read(content: bytes) -> np.ndarray:
    return read_audio(io.BytesIO(content), RATE)


def with_data_size_zero() -> bytes:
    content = bytearray(sound_bytes(hiss()))
    content[40:44] = bytes(4)
    return bytes(content)


def test_bytes_after_a_data_chunk_of_length_zero_are_sound(tmp_path: Path) -> None:
    (tmp_path / "streamed.wav").write_bytes(with_data_size_zero())
    expected = read(sound_bytes(hiss()))
    for source in (tmp_path / "streamed.wav", io.BytesIO(with_data_size_zero())):
        np.testing.assert_array_equal(read_audio(source, RATE), expected)


def test_a_chunk_after_no_sound_is_no_sound() -> None:
    with pytest.raises(AudioError, match="has no samples"):
        read(with_data_size_zero()[:44] + b"note" + struct.pack("<I", 4) + b"void")


def test_a_wav_changed_by_a_transfer_of_text_is_refused() -> None:
    content = sound_bytes(hiss())
    with pytest.raises(AudioError, match="has bytes behind its audio, from 32044 on"):
        read(content.replace(b"\n", b"\r\n"))
    with pytest.raises(AudioError, match="is cut off"):
        read(content.replace(b"\r", b""))


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), bytes(512), b"LIST\4\0\0\0abcd"])
def test_a_wav_with_texts_or_zeros_behind_is_whole(behind: bytes) -> None:
    assert len(read(sound_bytes(hiss()) + behind)) == RATE


def with_field(place: int, value: int, size: int, **options) -> bytes:
    content = bytearray(sound_bytes(hiss(), **options))
    content[place : place + size] = value.to_bytes(size, "little")
    return bytes(content)


def test_a_wav_whose_data_is_longer_than_it_says_is_refused() -> None:
    with pytest.raises(AudioError, match="its size is wrong"):
        read(with_field(40, RATE, 4))


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (32, 4, "says 4 bytes for a sample of all channels, 1 of PCM_16 have 2"),
        (32, 1, "says 1 bytes"),
        (22, 2, "says 2 bytes for a sample of all channels, 2 of PCM_16 have 4"),
        (34, 24, "says 2 bytes for a sample of all channels, 1 of PCM_24 have 3"),
        (34, 8, "1 of PCM_U8 have 1"),
    ],
)
def test_a_wav_header_that_contradicts_itself_is_refused(
    place: int, value: int, reason: str
) -> None:
    with pytest.raises(AudioError, match=f"contradicts itself: .*{reason}"):
        read(with_field(place, value, 2))


def test_a_wav_that_leaves_the_size_of_a_sample_open_is_read() -> None:
    assert len(read(with_field(32, 0, 2))) == RATE


@pytest.mark.parametrize(
    "subtype", [*"PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW IMA_ADPCM GSM610".split()]
)
@pytest.mark.parametrize("sound_format", ["WAV", "WAVEX", "RF64", "W64"])
def test_every_whole_file_agrees_with_itself(sound_format: str, subtype: str) -> None:
    channels = 1 if subtype == "GSM610" else 2
    if not soundfile.check_format(sound_format, subtype):
        return
    content = sound_bytes(np.stack([hiss()] * channels, axis=1), sound_format, subtype=subtype)
    assert len(read(content)) == pytest.approx(RATE, abs=2_100)


def ogg_pages(content: bytes) -> list[int]:
    """Where each page begins."""
    places = [0]
    while places[-1] < len(content):
        place = places[-1]
        lengths = content[place + 27 : place + 27 + content[place + 26]]
        places.append(place + 27 + len(lengths) + sum(lengths))
    return places[:-1]


@pytest.fixture(scope="module", params=["VORBIS", "OPUS"])
def ogg(request: pytest.FixtureRequest) -> bytes:
    return sound_bytes(hiss(4), "OGG", subtype=request.param)


def test_an_ogg_file_with_something_behind_is_whole(ogg: bytes) -> None:
    assert len(read(ogg)) == len(read(ogg + b"TAG")) == pytest.approx(4 * RATE, abs=100)


@pytest.mark.parametrize("page", [2, -2, -1])
def test_an_ogg_file_cut_between_pages_is_refused(page: int) -> None:
    content = sound_bytes(hiss(4), "OGG", subtype="VORBIS")
    with pytest.raises(AudioError, match="is cut off: its last page is missing"):
        read(content[: ogg_pages(content)[page]])


def test_opus_without_a_mark_at_its_end_is_whole() -> None:
    """As Android writes it: the last page is like those before it."""
    content = sound_bytes(hiss(4), "OGG", subtype="OPUS")
    *_, last, marked = ogg_pages(content)
    (end,) = struct.unpack_from("<q", content, last + 6)
    (skipped,) = struct.unpack_from("<H", content, content.index(b"OpusHead") + 10)
    assert len(read(content[:marked])) == (end - skipped) * RATE // 48_000 > 2 * RATE


@pytest.mark.parametrize("missing", [1, 300, 1_000])
def test_an_ogg_file_cut_within_a_page_is_refused(ogg: bytes, missing: int) -> None:
    with pytest.raises(AudioError, match="is cut off within its last page"):
        read(ogg[:-missing])


@pytest.mark.parametrize("page", [2, 3, -1])
def test_an_ogg_file_with_one_changed_bit_is_refused(ogg: bytes, page: int) -> None:
    content = bytearray(ogg)
    content[ogg_pages(ogg)[page] + 100] ^= 1
    with pytest.raises(AudioError, match="is damaged within the page that ends at byte"):
        read(bytes(content))


def test_an_ogg_file_of_two_recordings_is_refused(ogg: bytes) -> None:
    with pytest.raises(AudioError, match="holds several streams"):
        read(ogg + ogg)


def mp3_without_index(waveform: np.ndarray, mode: str) -> bytes:
    """Of a file with one the first frame is the index."""
    content = sound_bytes(waveform, "MP3", bitrate_mode=mode, compression_level=0.5)
    return content[content.index(content[:2], 10) :]


TEXTS = b"ID3\x04\0\0\0\0\1\0" + bytes(128)


@pytest.mark.parametrize("before", [b"", TEXTS])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_without_an_index_is_read_to_its_end(
    mode: str, before: bytes, behind: bytes
) -> None:
    """The first frames are larger than the others, so that an estimate by them comes out short."""
    waveform = np.concatenate([hiss(), np.zeros(6 * RATE)])
    content = before + mp3_without_index(waveform, mode) + behind
    assert len(read(content)) == pytest.approx(len(waveform), abs=MP3_TOLERANCE)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_an_index_that_ends_within_a_frame_is_refused(mode: str) -> None:
    with pytest.raises(AudioError, match="is damaged or cut off after 0.00 s"):
        read(mp3_without_index(hiss(3), mode)[:-20])


@pytest.mark.parametrize("before", [b"", TEXTS])
def test_half_an_mp3_with_an_index_is_refused(before: bytes) -> None:
    content = sound_bytes(hiss(3), "MP3")
    with pytest.raises(AudioError, match="is cut off: its header promises 48000 samples, 2"):
        read(before + content[: len(content) // 2])


@pytest.mark.parametrize("before", [b"", TEXTS])
def test_the_decoder_has_nothing_to_say_about_an_mp3_with_an_index(
    capfd: pytest.CaptureFixture, before: bytes
) -> None:
    assert len(read(before + sound_bytes(hiss(3), "MP3"))) == 3 * RATE
    assert capfd.readouterr().err == ""


def test_an_mp3_may_end_a_little_before_its_index_says() -> None:
    """As decoders count differently; here its last byte is missing."""
    content = sound_bytes(np.concatenate([hiss(), np.zeros(6 * RATE)]), "MP3")
    assert 7 * RATE - MP3_TOLERANCE <= len(read(content[:-1])) < 7 * RATE


def test_mp3_inside_wav_is_read() -> None:
    mp3 = mp3_without_index(hiss(3), "CONSTANT")
    # WAVE_FORMAT_MPEGLAYER3, mono; 12 bytes about the encoder.
    about = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 3_000, 1, 0, 12, 1, 0, 108, 1, 0)
    fact = struct.pack("<I", 3 * RATE + 5_000)
    chunks = [(b"fmt ", about), (b"fact", fact), (b"data", mp3 + bytes(len(mp3) % 2))]
    body = b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    content = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
    assert len(read(content)) == pytest.approx(3 * RATE, abs=3_000)
