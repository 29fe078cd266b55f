"""Words are bursts of a tone in silence, so that where they are and how loud they are can be measured."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.evaluation.streaming.streams import (
    AmbientStreams,
    Clip,
    Stream,
    WordStreams,
    at_level,
    blocks_of,
    clips_below,
    said_within,
)

RATE = 16_000
# Where the burst lies in a clip of a second, and the frequency of each word's tone.
BURST = slice(4_800, 9_600)
TONES = {"left": 500, "right": 1000, "house": 3000}
CLEAN = {"name": "clean", "snr_db": None, "room": False, "noise_share": 0.0}
NOISY = {"name": "10 dB", "snr_db": 10.0, "room": False, "noise_share": 1.0}
ROOM = {"name": "room", "snr_db": None, "room": True, "noise_share": 0.0}
# The word, and the word 100 ms later.
ECHO = np.float32([[0.8, *[0.0] * 1598, 0.6]])


def settings(*conditions: dict, **changed: object) -> WordStreams:
    streams = WordStreams(
        conditions=conditions,
        words_per_stream=4,
        gap_seconds=(1.0, 4.0),
        other_share=0.0,
        other_gap_seconds=(0.1, 0.6),
        level_db=(-32.0, -20.0),
        trim_db=25.0,
        floor_db=6.0,
        pause_seconds=0.2,
        hours=None,
        sample_rate=RATE,
        seed=0,
    )
    return replace(streams, **changed)


@pytest.fixture
def clips(tmp_path: Path) -> tuple[list[Clip], list[Clip]]:
    for i in range(3):
        for word, hertz in TONES.items():
            waveform = np.zeros(RATE)
            waveform[BURST] = 0.1 * (i + 1) * np.sin(2 * np.pi * hertz * np.arange(4_800) / RATE)
            write_wav(tmp_path / word / f"{i}.wav", waveform, RATE)
    write_wav(tmp_path / "_background_noise_" / "hum.wav", np.zeros(RATE), RATE)
    return clips_below(tmp_path, ["left", "right"])


def made(streams: WordStreams, clips: tuple[list[Clip], list[Clip]]) -> list[Stream]:
    noise = np.random.default_rng(1).standard_normal(30 * RATE).astype(np.float32)
    return list(streams.streams(*clips, [noise], ECHO))


def level_of(waveform: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


def spoken(stream: Stream, word: object) -> np.ndarray:
    return stream.waveform[round(word.start * RATE) : round(word.end * RATE)]


def test_each_clip_is_said_once_in_each_condition(clips: tuple) -> None:
    streams = made(settings(CLEAN, NOISY), clips)
    assert [stream.name for stream in streams] == [
        "words, clean, 0",
        "words, clean, 1",
        "words, 10 dB, 0",
        "words, 10 dB, 1",
    ]
    said = [word for stream in streams for word in stream.words]
    for condition in ("clean", "10 dB"):
        words = [word.keyword for word in said if word.condition == condition]
        assert sorted(words) == ["left"] * 3 + ["right"] * 3
    assert [len(stream.words) for stream in streams] == [4, 2, 4, 2]
    assert said[0].start == said[6].start and [word.keyword for word in said[:3]] != ["left"] * 3
    assert {(stream.kind, stream.waveform.dtype) for stream in streams} == {
        ("words", np.dtype(np.float32))
    }


def test_the_truth_is_where_the_word_is(clips: tuple) -> None:
    stream, _ = made(settings(CLEAN), clips)
    silent = stream.waveform.copy()
    for word in stream.words:
        assert word.end - word.start == pytest.approx(0.3, abs=0.011)
        tone = spoken(stream, word)[1600:3200]
        hertz = np.abs(np.fft.rfft(tone)).argmax() * RATE / len(tone)
        assert hertz == TONES[word.keyword]
        silent[round(word.start * RATE) : round(word.end * RATE)] = 0
    assert np.abs(silent).max() < 0.01
    between = np.diff([word.start for word in stream.words])
    assert np.all(between >= 2) and np.all(between <= 5)


def test_a_noisy_clip_is_not_all_word(tmp_path: Path) -> None:
    noise = 0.01 * np.random.default_rng(2).standard_normal(RATE)
    for word, hertz in TONES.items():
        waveform = noise.copy()
        waveform[BURST] += 0.1 * np.sin(2 * np.pi * hertz * np.arange(4_800) / RATE)
        write_wav(tmp_path / word / "0.wav", waveform, RATE)
    for stream in made(settings(CLEAN), clips_below(tmp_path, ["left", "right"])):
        assert [word.end - word.start for word in stream.words] == pytest.approx(
            [0.3, 0.3], abs=0.02
        )


def test_levels_are_those_of_the_word_and_differ_between_streams(clips: tuple) -> None:
    levels = []
    for stream in made(settings(CLEAN), clips):
        found = [level_of(spoken(stream, word)) for word in stream.words]
        assert np.ptp(found) < 0.1
        levels.append(np.mean(found))
    assert abs(levels[0] - levels[1]) > 0.1 and -32.1 < min(levels) <= max(levels) < -19.9


def test_noise_is_so_much_quieter_than_the_words(clips: tuple) -> None:
    stream, _ = made(settings(NOISY), clips)
    first = stream.words[0]
    noise = stream.waveform[: round(first.start * RATE) - 1600]
    # The word is heard with the noise in it.
    word = 10 * np.log10(
        10 ** (level_of(spoken(stream, first)) / 10) - 10 ** (level_of(noise) / 10)
    )
    assert word - level_of(noise) == pytest.approx(10, abs=0.3)


def test_noise_is_there_for_a_share_of_the_words(clips: tuple) -> None:
    (stream,) = made(settings(NOISY | {"noise_share": 0.5}, words_per_stream=6), clips)
    starts = [round(word.start * RATE) for word in stream.words]
    assert 0 < sum(stream.waveform[at - 8000 : at - 1600].any() for at in starts) < 6


def test_a_room_is_heard_behind_the_word(clips: tuple) -> None:
    stream, _ = made(settings(ROOM, gap_seconds=(1.0, 1.0)), clips)
    assert len(stream.waveform) == 4 * (RATE + RATE + 1600)
    word = stream.words[0]
    after = stream.waveform[round(word.end * RATE) :][:1600]
    assert level_of(after) - level_of(spoken(stream, word)[:1500]) == pytest.approx(
        20 * np.log10(0.6 / 0.8), abs=0.5
    )


def test_other_words_are_said_and_are_no_truth(clips: tuple) -> None:
    short, *_ = made(settings(CLEAN), clips)
    long, *_ = made(settings(CLEAN, other_share=1.0, gap_seconds=(1.0, 1.0)), clips)
    assert len(long.words) == 4 and {word.keyword for word in long.words} <= {"left", "right"}
    assert len(long.waveform) == 4 * 2 * 2 * RATE
    before = long.waveform[: round(long.words[0].start * RATE) - 1600]
    assert np.abs(np.fft.rfft(before)).argmax() * RATE / len(before) == pytest.approx(3000, abs=5)
    assert len(short.waveform) < 4 * 5 * RATE


def test_hours_bound_the_words_of_each_condition(clips: tuple) -> None:
    """To the end of a stream, and to the same words in a room, where they are longer."""
    whole = made(settings(CLEAN, ROOM, words_per_stream=1), clips)
    seconds = [len(stream.waveform) / RATE for stream in whole[:6]]
    for count in (1, 3):
        hours = (sum(seconds[:count]) - 0.05) / 3600
        bound = made(settings(CLEAN, ROOM, words_per_stream=1, hours=hours), clips)
        names = [f"words, {name}, {i}" for name in ("clean", "room") for i in range(count)]
        assert [stream.name for stream in bound] == names
        assert [stream.words for stream in bound[:count]] == [each.words for each in whole[:count]]


def test_other_words_follow_each_other_as_sound_without_keywords(clips: tuple) -> None:
    streams = settings(CLEAN)
    sounds = list(streams.others([*clips[0], *clips[1]]))
    assert len(sounds) == 9 and sounds[0].dtype == np.float32
    gaps = [len(sound) / RATE - 1 for sound in sounds]
    assert min(gaps) >= 0.1 and max(gaps) <= 0.6 and np.ptp(gaps) > 0.1
    levels = [level_of(sound[-RATE:][BURST]) for sound in sounds]
    assert -32.1 < min(levels) and max(levels) < -19.9 and np.ptp(levels) > 3
    tones = [np.abs(np.fft.rfft(sound[-RATE:])).argmax() for sound in sounds]
    assert sorted(map(round, tones)) == [500] * 3 + [1000] * 3 + [3000] * 3
    assert tones != sorted(tones)  # as they lie in the folder
    again = list(settings(CLEAN).others([*clips[0], *clips[1]]))
    assert all(map(np.array_equal, sounds, again))
    heard = list(ambient(hours=5 / 3600).streams(others=sounds))
    assert [(stream.name, stream.kind, len(stream.waveform) / RATE) for stream in heard] == [
        (f"other words, {i}", "other words", seconds) for i, seconds in enumerate((2, 2, 1))
    ]
    whole = np.concatenate([stream.waveform for stream in heard])
    assert np.array_equal(whole, np.concatenate(sounds)[: 5 * RATE])


def test_a_stream_depends_on_the_seed_and_on_no_other_condition(clips: tuple) -> None:
    (one, *_), (*_, other, _) = made(settings(NOISY), clips), made(settings(CLEAN, NOISY), clips)
    assert one.words == other.words and np.array_equal(one.waveform, other.waveform)
    again, *_ = made(settings(NOISY, seed=1), clips)
    assert again.words != one.words


def test_no_clip_of_a_keyword_is_an_error(tmp_path: Path, clips: tuple) -> None:
    assert [clip.word for clip in clips[1]] == ["house"] * 3
    write_wav(tmp_path / "_unknown_" / "0.wav", np.zeros(RATE), RATE)
    write_wav(tmp_path / "_silence_" / "0.wav", np.zeros(RATE), RATE)
    others = clips_below(tmp_path, ["left", "right"])[1]
    assert [clip.word for clip in others] == ["_unknown_", *["house"] * 3]
    with pytest.raises(KwsError, match="expected clips <word>/<clip> of up below"):
        clips_below(tmp_path, ["up"])


def test_a_silent_clip_is_an_error(tmp_path: Path, clips: tuple) -> None:
    write_wav(tmp_path / "left" / "3.wav", np.zeros(RATE), RATE)
    with pytest.raises(KwsError, match="3.wav is silent: remove it"):
        made(settings(CLEAN), clips_below(tmp_path, ["left"]))


def test_silent_noise_stays_silent() -> None:
    assert not at_level(np.zeros(10, np.float32), -20).any()
    assert level_of(at_level(np.ones(10, np.float32), -20)) == pytest.approx(-20)


def ambient(**changed: object) -> AmbientStreams:
    values = {
        "folder": None,
        "talk": None,
        "talk_split": "test",
        "talk_hours": 0.0,
        "homophones": {},
        "block_seconds": 2.0,
        "pause_seconds": 0.5,
        "hours": None,
        "sample_rate": RATE,
    }
    return AmbientStreams(**values | changed)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for kind, lengths in {"music": [3.0], "speech": [1.0, 0.75]}.items():
        for i, seconds in enumerate(lengths):
            ramp = np.full(round(seconds * RATE), 0.1 * (i + 1))
            write_wav(tmp_path / kind / f"{i}.wav", ramp, RATE)
    return str(tmp_path)


def test_ambient_sound_comes_in_blocks_by_kind(folder: str) -> None:
    streams = list(ambient(folder=folder).streams())
    assert [(stream.name, len(stream.waveform) / RATE, stream.words) for stream in streams] == [
        ("music, 0", 2.0, []),
        ("music, 1", 1.5, []),
        ("speech, 0", 2.0, []),
        ("speech, 1", 0.75, []),
    ]
    speech = np.concatenate([stream.waveform for stream in streams[2:]])
    borders = np.cumsum([0, 1, 0.5, 0.75, 0.5]) * RATE
    means = [speech[round(i) : round(j)].mean() for i, j in zip(borders, borders[1:], strict=False)]
    assert means == pytest.approx([0.1, 0, 0.2, 0], abs=1e-4)


def test_hours_bound_each_kind(folder: str) -> None:
    streams = list(ambient(folder=folder, hours=2.5 / 3600).streams())
    assert [len(stream.waveform) / RATE for stream in streams] == [2.0, 0.5, 2.0, 0.5]


def test_what_recordings_say_is_told_of_each_block(folder: str) -> None:
    write_wav(Path(folder) / "speech" / "2.wav", np.zeros(RATE), RATE)
    (Path(folder) / "speech" / "texts.txt").write_text("0: No, left\n1: Say it.\n2: I know\n")
    sounds = ambient(folder=folder, homophones={"no": ["know"]})
    said = {stream.name: stream.said for stream in sounds.streams(["no", "left"])}
    assert said == {
        "music, 0": [],
        "music, 1": [],
        "speech, 0": [("no", 0, 1), ("left", 0, 1)],
        # It begins at 2.75 s, and the block at 2.
        "speech, 1": [("no", 0.75, 1.75)],
        "speech, 2": [],
    }
    assert all(not stream.said for stream in sounds.streams())


def test_what_a_recording_says_goes_on_in_the_next_block() -> None:
    spans = [(0, 10, ["yes"]), (10, 35, ["no"]), (35, 40, [])]
    found = [list(said_within(spans, first, 10, 10)) for first in (0, 10, 20, 30)]
    assert found == [[("yes", 0, 1)], [("no", 0, 1)], [("no", 0, 1)], [("no", 0, 0.5)]]


def test_a_kind_without_recordings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="a folder for each kind of sound, found none"):
        list(ambient(folder=str(tmp_path)).streams())
    (tmp_path / "noise").mkdir()
    write_wav(tmp_path / "music" / "0.wav", np.zeros(RATE), RATE)
    streams = ambient(folder=str(tmp_path)).streams()
    with pytest.raises(KwsError, match="expected recordings below .*noise, .*speech-corpora"):
        next(streams)  # before hours of music are heard


def test_a_recording_that_cannot_be_read_is_passed_over(folder: str, caplog) -> None:
    (Path(folder) / "music/0.wav").write_bytes(b"RIFF")
    write_wav(Path(folder) / "music/1.wav", np.full(RATE, 0.3), RATE)
    streams = list(ambient(folder=folder, pause_seconds=0.0).streams())
    assert [(stream.name, len(stream.waveform) / RATE) for stream in streams] == [
        ("music, 0", 1.0),
        ("speech, 0", 1.75),
    ]
    assert "left out" in caplog.text and "0.wav" in caplog.text


class Talk:
    """Blocks of a second, each of its number; or what cannot be made."""

    block_seconds = 1.0

    def __init__(self, is_missing: bool = False) -> None:
        self.is_missing = is_missing

    def block(self, split: str, number: int) -> np.ndarray:
        assert split == "test"
        if self.is_missing:
            raise KwsError("expected a text to read")
        return np.full(RATE, number, np.float32)


def test_talk_is_made_by_number(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    for count in range(6):
        streams = list(ambient(talk=Talk(), talk_hours=count / 3600).streams())
        assert [(stream.name, stream.kind) for stream in streams] == [
            (f"synthetic talk, {number}", "synthetic talk") for number in range(count)
        ]
        assert [stream.waveform[0] for stream in streams] == list(range(count))
    # Hours that are asked for come first, but not where no talk is wanted.
    assert len(list(ambient(talk=Talk(), talk_hours=9, hours=2 / 3600).streams())) == 2
    assert list(ambient(talk=Talk(), hours=2 / 3600).streams()) == []


def test_talk_that_cannot_be_made_is_left_out_beside_recordings(folder: str, caplog) -> None:
    missing = {"talk": Talk(is_missing=True), "talk_hours": 1.0}
    kinds = {stream.kind for stream in ambient(folder=folder, **missing).streams()}
    assert kinds == {"music", "speech"}
    assert caplog.messages == ["left out: synthetic talk: expected a text to read"]
    with pytest.raises(KwsError, match="expected a text to read"):
        list(ambient(**missing).streams())


def test_hours_are_more_than_none() -> None:
    with pytest.raises(SettingError, match="hours"):
        ambient(hours=0)


@pytest.mark.parametrize("lengths", [[5], [1, 1, 1], [7, 0, 3], [4, 4], []])
def test_blocks_hold_all_samples_in_order(lengths: list[int]) -> None:
    sound = np.arange(sum(lengths), dtype=np.float32)
    blocks = list(blocks_of(iter(np.split(sound, np.cumsum(lengths)[:-1])), 4))
    assert [len(block) for block in blocks[:-1]] == [4] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate([np.zeros(0), *blocks]), sound)
