from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech_commands_kws.data.synthesis.espeak import EspeakVoices
from speech_commands_kws.data.synthesis.talk import SyntheticTalk, harmless_lines, homophones
from speech_commands_kws.errors import KwsError

RATE = 16_000
WORDS = ("no", "right")
ACCENTS = ["en-us", "en-gb-scotland"]
VARIANTS = ["m1", "m2", "m3", "m4", "m5", "m6", "f1", "f2", "f3", "f4"]
# A fifth of these lines holds a keyword or a word that sounds like one.
LINES = [
    "The weather was lovely, although clouds were gathering behind the mountains.",
    "Her grandmother cooked better, with garlic and plenty of time.",
    "I know nothing of it.",
    "Somebody called them to supper, and the children played music.",
    "This morning we walked along the river to the market.",
] * 20


@pytest.fixture
def talk(tmp_path: Path) -> SyntheticTalk:
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    (tmp_path / "text.txt").write_text("\n".join(LINES), encoding="utf-8")
    return SyntheticTalk(
        parent=str(tmp_path),
        text_file=str(tmp_path / "text.txt"),
        words=WORDS,
        speakers=20,
        accents=ACCENTS,
        voices={"espeak": EspeakVoices(VARIANTS, ACCENTS, (40, 60), (40, 60), 0)},
        shares={"espeak": 1},
        held_out=None,
        speed=(0.85, 1.1),
        size=(1.0, 1.0),
        level_db=(-30.0, -20.0),
        turn_lines=(1, 3),
        pause_seconds=(0.3, 0.6),
        block_seconds=20.0,
        text_shares=(0.5, 0.25, 0.25),
        hours=(40 / 3600, 20 / 3600),
        sample_rate=RATE,
        seed=0,
    )


def test_lines_with_a_keyword_or_what_sounds_like_one_are_left_out() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    lines = [
        "I know.",
        "Write it down!",
        "NO, said he.",
        "Nobody writes.",
        "Snow, righteous",
        "...",
    ]
    assert harmless_lines(lines, WORDS, ["en-us"]) == ["Nobody writes.", "Snow, righteous"]
    assert homophones(["know", "knows", "wright", "Noe"], WORDS, ["en-us"]) >= {"know", "wright"}
    assert "knows" not in homophones(["knows"], WORDS, ["en-us"])


def test_a_block_is_continuous_speech_of_its_length(talk: SyntheticTalk) -> None:
    block = talk.block("test", 0)
    assert block.shape == (20 * RATE,) and block.dtype == np.float32
    levels = np.sqrt(np.mean(np.square(block.reshape(-1, RATE)), axis=1))
    assert np.all(levels > 0.001) and np.abs(block).max() < 1


def test_a_block_is_the_same_each_time_and_like_no_other(talk: SyntheticTalk) -> None:
    block = talk.block("test", 1)
    assert np.array_equal(block, talk.block("test", 1))
    for other in (talk.block("test", 2), replace(talk, seed=1).block("test", 1)):
        assert not np.array_equal(block, other)


def test_splits_share_neither_lines_nor_voices(talk: SyntheticTalk) -> None:
    assert {split: len(lines) for split, lines in talk.lines.items()} == {
        "train": 40,
        "validation": 20,
        "test": 20,
    }
    voices = {
        split: {
            turn.line.person.voice.variant
            for number in range(20)
            for turn in talk._turns(split, number)
        }
        for split in talk.lines
    }
    assert voices["validation"] == {"f3"} and voices["test"] == {"f4"}
    assert voices["train"] == {"m1", "m2", "m3", "m4", "m5", "m6", "f1", "f2"}


def test_turns_are_more_than_fills_the_block(talk: SyntheticTalk) -> None:
    for number in range(5):
        turns = talk._turns("train", number)
        words = sum(len(turn.line.text.split()) for turn in turns)
        assert words > 20 * 150 / 60 and all("know" not in turn.line.text for turn in turns)
        assert all(-30 <= turn.level_db <= -20 for turn in turns)


def test_hours_of_training_and_validation_are_stored_once(talk: SyntheticTalk) -> None:
    root = talk.prepare()
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.wav"))
    assert found == ["train/0000.wav", "train/0001.wav", "validation/0000.wav"]
    stored, _ = soundfile.read(root / "train/0001.wav", dtype="float32")
    assert np.array_equal(stored, talk.block("train", 1))
    (root / "train/0001.wav").unlink()
    assert talk.prepare() == root and not (root / "train/0001.wav").exists()
    assert replace(talk, words=("go",)).settings_hash != talk.settings_hash


def test_without_a_text_common_words_are_read_that_are_no_keywords(talk: SyntheticTalk) -> None:
    words = replace(talk, text_file=None, accents=["en-us"])
    said = [word for lines in words.lines.values() for line in lines for word in line.split()]
    said = [word.strip(".") for word in said]
    assert len(set(said)) > 2500 and len(said) > 60_000
    assert not {"no", "know", "right", "write"} & set(said) and {"snow", "night"} <= set(said)
    again = replace(words, parent="elsewhere")
    assert again.lines == words.lines and again.settings_hash == words.settings_hash
    assert replace(words, seed=1).lines != words.lines
    assert words.settings_hash != replace(talk, accents=["en-us"]).settings_hash


def test_without_a_text_that_is_named_the_command_that_brings_it_is_named(
    talk: SyntheticTalk,
) -> None:
    with pytest.raises(KwsError, match="expected a text to read at .*make speech-corpora"):
        replace(talk, text_file="none.txt").block("test", 0)
