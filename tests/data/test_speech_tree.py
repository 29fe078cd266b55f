import numpy as np
import pytest

from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    SpeechTree,
    assign_splits,
    audio_paths,
    published_split,
    words_and_speakers,
)
from speech_commands_kws.errors import KwsError


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_published_names_tell_word_and_speaker():
    words, speakers = words_and_speakers(
        ["yes/0a7c2a8d_nohash_0.wav", "no/anna.flac"], SPEECH_COMMANDS_PATTERN
    )
    assert words == ["yes", "no"]
    assert speakers == ["0a7c2a8d", "anna"]


def test_flat_layout_by_pattern(tmp_path):
    touch(tmp_path, "7_anna_12.wav", "3_bob_1.wav", "notes.txt")
    pattern = r"(?P<word>\d)_(?P<speaker>[^_]+)_\d+\.wav"
    clips, noises = audio_paths(tmp_path, pattern)
    assert (clips, noises) == (["3_bob_1.wav", "7_anna_12.wav"], [])
    assert words_and_speakers(clips, pattern) == (["3", "7"], ["bob", "anna"])


def test_noise_hidden_and_list_files_are_no_clips(tmp_path):
    touch(
        tmp_path,
        "yes/a_nohash_0.wav",
        "_background_noise_/hum.wav",
        "_background_noise_/README.md",
        "validation_list.txt",
        ".git/x/y.wav",
        "yes/.DS_Store",
    )
    assert audio_paths(tmp_path, SPEECH_COMMANDS_PATTERN) == (
        ["yes/a_nohash_0.wav"],
        ["_background_noise_/hum.wav"],
    )


# From the published lists of v0.02, and a speaker that is in neither.
@pytest.mark.parametrize(
    "speaker, split",
    [
        ("0d82fd99", "validation"),
        ("7fd25f7c", "validation"),
        ("0cb74144", "test"),
        ("87070229", "test"),
        ("1b42b551", "train"),
    ],
)
def test_published_rule_on_published_speakers(speaker, split):
    assert published_split(speaker, 10, 10) == split


def test_published_rule_gives_the_shares_asked_for():
    splits = [published_split(f"{i:08x}", 10, 20) for i in range(5000)]
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.015)
    assert splits.count("test") / 5000 == pytest.approx(0.2, abs=0.02)


def test_no_speaker_crosses_splits_by_rule_or_by_hand(tmp_path):
    speakers = [f"{i % 40:08x}" for i in range(400)]
    paths = [f"yes/{speaker}_nohash_{i}.wav" for i, speaker in enumerate(speakers)]
    for tree in (
        SpeechTree(tmp_path),
        SpeechTree(tmp_path, test_speakers=("00000003", "00000004")),
        SpeechTree(tmp_path, test_speakers=("00000003",), validation_speakers=("00000005",)),
    ):
        splits = assign_splits(tree, paths, speakers)
        for speaker in set(speakers):
            assert len(set(splits[np.array(speakers) == speaker])) == 1
    assert set(splits[np.array(speakers) == "00000003"]) == {"test"}
    assert set(splits[np.array(speakers) == "00000005"]) == {"validation"}
    assert set(splits[np.array(speakers) == "00000006"]) == {"train"}


def test_published_lists_win_over_the_rule(tmp_path):
    paths = [f"yes/{i:08x}_nohash_0.wav" for i in range(6)]
    (tmp_path / "validation_list.txt").write_text(f"{paths[1]}\n{paths[2]}\n")
    (tmp_path / "testing_list.txt").write_text(f"{paths[5]}\n")
    splits = assign_splits(SpeechTree(tmp_path), paths, [str(i) for i in range(6)])
    assert splits.tolist() == ["train", "validation", "validation", "train", "train", "test"]


@pytest.mark.parametrize("name", ["validation_list.txt", "testing_list.txt"])
def test_one_list_alone_is_an_error_that_names_the_other(tmp_path, name):
    (tmp_path / name).touch()
    other = ({"validation_list.txt", "testing_list.txt"} - {name}).pop()
    with pytest.raises(KwsError, match=other):
        assign_splits(SpeechTree(tmp_path), [], [])


@pytest.mark.parametrize(
    "prepare, message",
    [
        (lambda root: None, "data.root"),
        (lambda root: root.mkdir(), "found none that match"),
        (lambda root: touch(root, "readme.txt"), "found none that match"),
    ],
)
def test_missing_or_empty_tree_says_what_to_do(tmp_path, prepare, message):
    prepare(tmp_path / "tree")
    with pytest.raises(KwsError, match=message):
        audio_paths(tmp_path / "tree", SPEECH_COMMANDS_PATTERN)


def test_a_pattern_that_finds_no_word_finds_no_clip(tmp_path):
    touch(tmp_path, "yes/a.wav", "b.wav")
    for pattern in (r"(?P<word>x)?.*", r"(?P<word>[^/]*?).*"):
        with pytest.raises(KwsError, match="found none that match"):
            audio_paths(tmp_path, pattern)


def test_links_to_folders_are_followed(tmp_path):
    touch(tmp_path, "tree/yes/a.wav", "elsewhere/b.wav")
    (tmp_path / "tree/no").symlink_to(tmp_path / "elsewhere")
    clips, _ = audio_paths(tmp_path / "tree", SPEECH_COMMANDS_PATTERN)
    assert clips == ["no/b.wav", "yes/a.wav"]


@pytest.mark.parametrize(
    "named, message",
    [
        (
            {"test_speakers": ("theo",)},
            r"data.test_speakers names theo, .* the first of 6 speakers are anna, bert",
        ),
        ({"validation_speakers": ("anna", "Bert")}, "data.validation_speakers names Bert, of whom"),
        (
            {"validation_speakers": ("anna",), "test_speakers": ("anna", "bert")},
            "both name anna: take them out of one",
        ),
    ],
)
def test_speakers_that_are_not_there_or_in_two_splits_are_refused(tmp_path, named, message):
    speakers = [*"anna bert carl dora emil fred".split()]
    paths = [f"yes/{speaker}.wav" for speaker in speakers]
    with pytest.raises(KwsError, match=message):
        assign_splits(SpeechTree(tmp_path, **named), paths, speakers)


def test_a_list_from_windows_is_read(tmp_path):
    (tmp_path / "validation_list.txt").write_bytes(b"\xef\xbb\xbfyes/a.wav\r\n")
    (tmp_path / "testing_list.txt").touch()
    assert assign_splits(SpeechTree(tmp_path), ["yes/a.wav"], ["a"]).tolist() == ["validation"]


@pytest.mark.parametrize("pattern", ["(", "(?P<name>.*)"])
def test_useless_pattern_is_refused(tmp_path, pattern):
    with pytest.raises(KwsError, match="data.pattern"):
        audio_paths(tmp_path, pattern)
