import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    SpeechTree,
    assign_splits,
    audio_paths,
    deal_out,
    describe_splits,
    name_hash,
    published_split,
    words_and_speakers,
    write_split_lists,
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


def test_a_speaker_at_the_border_of_a_share_is_behind_it():
    percent = int(name_hash("anna"), 16) % 2**27 * 100 / (2**27 - 1)
    assert published_split("anna", percent, 100) == "test"
    assert published_split("anna", percent / 2, percent / 2) == "train"


@given(
    said=st.lists(
        st.tuples(st.sampled_from(["lights", "music", "door"]), st.sampled_from("abcdefgh")),
        min_size=1,
        max_size=60,
    ),
    percent=st.integers(1, 40),
    held_out=st.sets(st.sampled_from("abcdefgh"), max_size=2),
)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_dealing_out_starves_no_word_and_divides_no_speaker(said, percent, held_out):
    words, speakers = zip(*said)
    named = dict.fromkeys(held_out, "test")
    split_of = deal_out(words, speakers, {"validation": percent, "test": percent}, named)
    assert set(split_of) == set(speakers) | held_out
    assert all(split_of[name] == "test" for name in held_out)
    others = [(word, name) for word, name in said if name not in held_out]
    trained = {word for word, name in others if split_of[name] == "train"}
    assert trained == {word for word, _ in others}
    assert split_of == deal_out(
        words[::-1], speakers[::-1], {"validation": percent, "test": percent}, named
    )


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
        splits = assign_splits(tree, paths, ["yes"] * len(paths), speakers)
        for speaker in set(speakers):
            assert len(set(splits[np.array(speakers) == speaker])) == 1
    assert set(splits[np.array(speakers) == "00000003"]) == {"test"}
    assert set(splits[np.array(speakers) == "00000005"]) == {"validation"}
    assert set(splits[np.array(speakers) == "00000006"]) == {"train"}


def test_published_lists_win_over_the_rule(tmp_path):
    paths = [f"yes/{i:08x}_nohash_0.wav" for i in range(6)]
    (tmp_path / "validation_list.txt").write_text(f"{paths[1]}\n{paths[2]}\n")
    (tmp_path / "testing_list.txt").write_text(f"{paths[5]}\n")
    splits = assign_splits(SpeechTree(tmp_path), paths, ["yes"] * 6, [str(i) for i in range(6)])
    assert splits.tolist() == ["train", "validation", "validation", "train", "train", "test"]


@pytest.mark.parametrize("name", ["validation_list.txt", "testing_list.txt"])
def test_one_list_alone_is_an_error_that_names_the_other(tmp_path, name):
    (tmp_path / name).touch()
    other = ({"validation_list.txt", "testing_list.txt"} - {name}).pop()
    with pytest.raises(KwsError, match=other):
        assign_splits(SpeechTree(tmp_path), [], [], [])


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
        assign_splits(SpeechTree(tmp_path, **named), paths, ["yes"] * 6, speakers)


def write_lists(root, validation, testing):
    (root / "validation_list.txt").write_bytes(validation)
    (root / "testing_list.txt").write_bytes(testing)


@pytest.mark.parametrize(
    "entry",
    [
        b"\xef\xbb\xbfyes/a.wav\r\n",
        b"yes\\a.wav\n",
        b"./yes/a.wav\n",
        b"yes/a.flac",
        b" yes/a.wav \n\n",
    ],
)
def test_a_list_made_elsewhere_is_read(tmp_path, entry):
    write_lists(tmp_path, entry, b"")
    splits = assign_splits(
        SpeechTree(tmp_path), ["yes/a.wav", "yes/b.wav"], ["yes"] * 2, ["a", "b"]
    )
    assert splits.tolist() == ["validation", "train"]


def test_a_list_of_no_clip_is_refused_and_one_of_some_is_said(tmp_path, caplog):
    arguments = (SpeechTree(tmp_path), ["yes/a.wav"], ["yes"], ["a"])
    write_lists(tmp_path, b"yes/a.wav\n", b"tree/yes/b.wav\n.\n/\n\xff\n")
    with pytest.raises(KwsError, match="testing_list.txt .* none of its 4 entries .* tree/yes/b:"):
        assign_splits(*arguments)
    write_lists(tmp_path, b"yes/a.wav\nyes/gone.wav\n", b"")
    assert assign_splits(*arguments).tolist() == ["validation"]
    assert "1 of 2 entries" in caplog.text and "name no clip, such as yes/gone" in caplog.text


def test_two_empty_lists_are_refused(tmp_path):
    write_lists(tmp_path, b"", b"\n")
    with pytest.raises(KwsError, match="testing_list.txt to name clips .* both are empty: fill"):
        assign_splits(SpeechTree(tmp_path), ["yes/a.wav"], ["yes"], ["a"])


def test_a_listed_name_that_two_files_share_is_refused(tmp_path):
    paths = ["no/d.flac", "no/d.wav", "no/e.wav"]
    arguments = (SpeechTree(tmp_path), paths, ["no"] * 3, ["d", "d", "e"])
    write_lists(tmp_path, b"no/d.wav\n", b"no/e.wav\n")
    with pytest.raises(KwsError, match="name no/d, which stands for 2 files .* endings: rename"):
        assign_splits(*arguments)
    write_lists(tmp_path, b"", b"no/e.wav\n")
    assert assign_splits(*arguments).tolist() == ["train", "train", "test"]


@pytest.mark.parametrize(
    "names, said",
    [
        ("anna_0 anna_1 ben", "anna_0, anna_1 count as speakers"),
        ("ben anna2 anna1 anna10 anna3", "anna1, anna10, anna2 count as speakers"),
        ("anna-(1) anna-(2) ben", "anna-(1), anna-(2) count as speakers"),
        ("anna_0 ben_0 cleo_1", None),
        ("anna_nohash_0 anna_nohash_1 ben_nohash_0 cleo_nohash_0", None),
        ("s1_nohash_0 s2_nohash_0 s3_nohash_0", None),
    ],
)
def test_names_that_differ_in_a_number_are_said(tmp_path, caplog, names, said):
    paths = [f"yes/{name}.wav" for name in names.split()]
    words, speakers = words_and_speakers(paths, SPEECH_COMMANDS_PATTERN)
    assign_splits(SpeechTree(tmp_path, split_rule="dealt"), paths, words, speakers)
    assert (said in caplog.text and "<speaker>_nohash_" in caplog.text) if said else not caplog.text
    caplog.clear()
    assign_splits(SpeechTree(tmp_path), paths, words, speakers)
    assert not caplog.text, "published data are known by their names"


def test_a_clip_in_both_lists_is_refused(tmp_path):
    write_lists(tmp_path, b"yes/a.wav\n", b"yes/b.wav\nyes/a.wav\n")
    arguments = (SpeechTree(tmp_path), ["yes/a.wav", "yes/b.wav"], ["yes"] * 2, ["a", "b"])
    with pytest.raises(KwsError, match="both split lists name yes/a"):
        assign_splits(*arguments)


def test_lists_are_read_as_they_are_written_whatever_a_name_holds(tmp_path):
    paths = ["yes/a\x85b.wav", "yes/c\u2028d.wav", "yes/e.wav"]
    splits = ["validation", "test", "train"]
    write_split_lists(tmp_path, paths, splits)
    found = assign_splits(SpeechTree(tmp_path), paths, ["yes"] * 3, ["a", "c", "e"])
    assert found.tolist() == splits


def test_dealing_out_leaves_every_word_in_training():
    words, speakers = [], []
    for i in range(30):
        words += ["lights", "music", "door"] if i == 7 else ["lights", "music"]
        speakers += [f"speaker{i}"] * (3 if i == 7 else 2)
    split_of = deal_out(words, speakers, {"validation": 10, "test": 10}, {})
    assert Counter(split_of.values()) == {"train": 24, "validation": 3, "test": 3}
    assert split_of["speaker7"] == "train", "nobody else says door"


def test_dealing_out_scores_every_word_that_it_can():
    """Ten people say one word each, two say both."""
    said = {f"of_{i}": ["lights", "music"][i % 2 :][:1] for i in range(10)}
    said |= {"both_1": ["lights", "music"], "both_2": ["lights", "music"]}
    pairs = [(word, name) for name, own in said.items() for word in own]
    split_of = deal_out(*zip(*pairs), {"validation": 10, "test": 10}, {})
    assert {split_of["both_1"], split_of["both_2"]} == {"validation", "test"}


@pytest.mark.parametrize(
    "people, named, expected",
    [
        (["anna", "ben"], {}, {"train": 2}),
        (["anna", "ben", "cleo"], {}, {"train": 1, "validation": 1, "test": 1}),
        (
            ["anna", "ben", "cleo"],
            {"test_speakers": ["anna"]},
            {"train": 1, "validation": 1, "test": 1},
        ),
        (["anna", "ben", "cleo"], {"validation_speakers": ["ben"]}, {"train": 2, "validation": 1}),
    ],
)
def test_people_who_recorded_themselves_are_dealt_out(tmp_path, people, named, expected):
    tree = SpeechTree(tmp_path, split_rule="dealt", **named)
    splits = assign_splits(tree, people, ["yes"] * len(people), people)
    assert Counter(splits.tolist()) == expected


def test_the_line_about_splits_says_how_many_clips_of_whom():
    splits = ["train"] * 4 + ["validation"] * 5
    speakers = ["anna", "anna", "ben", "ben", *"vwxyz"]
    assert (
        describe_splits(splits, speakers)
        == "train 4 by anna, ben, validation 5 by 5 speakers, test none"
    )


def test_sounds_that_are_no_clips_are_counted(tmp_path, caplog):
    touch(tmp_path, "yes/a.wav", "yes/session2/b.wav", "c.flac", "notes.txt")
    assert audio_paths(tmp_path, SPEECH_COMMANDS_PATTERN) == (["yes/a.wav"], [])
    assert "2 sound files below" in caplog.text and "such as c.flac" in caplog.text


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    touch(tmp_path, "yes/a.wav", "no/b.wav")
    scandir = os.scandir

    def scan(folder):
        if Path(folder).name == "no":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(KwsError, match="no cannot be opened: Permission denied"):
        audio_paths(tmp_path, SPEECH_COMMANDS_PATTERN)


@pytest.mark.parametrize("pattern", ["(", "(?P<name>.*)"])
def test_useless_pattern_is_refused(tmp_path, pattern):
    with pytest.raises(KwsError, match="data.pattern"):
        audio_paths(tmp_path, pattern)
