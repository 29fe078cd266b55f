import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.data.sources.mixed import MixedSource, links_of
from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    SpeechTree,
)
from speech_commands_kws.data.task import Task
from speech_commands_kws.errors import KwsError

RATE = 16_000
SYNTHETIC_SPEAKERS = {TRAIN: 8, VALIDATION: 3, TEST: 3}
TAKES = 2


class SpokenSource:
    """Stands for SyntheticSource: a tree of tones, by speakers that its lists divide."""

    words = ["lights", "music"]

    def __init__(self, root: Path):
        self.root = root

    def prepare(self) -> SpeechTree:
        if not self.root.is_dir():
            lists = {VALIDATION: [], TEST: [], TRAIN: []}
            for split, count in SYNTHETIC_SPEAKERS.items():
                for i in range(count):
                    for word in [*self.words, "bed"]:
                        for take in range(TAKES):
                            path = f"{word}/{split}{i}_nohash_{take}.wav"
                            write_tone(self.root / path, 100 + i)
                            lists[split].append(f"{path}\n")
            write_tone(self.root / "_background_noise_" / "hiss.wav", 50, seconds=3)
            for split in (VALIDATION, TEST):
                (
                    self.root / f"{split}ing_list.txt".replace("validationing", "validation")
                ).write_text("".join(lists[split]))
        return SpeechTree(self.root, made_by="tones")


def write_tone(path: Path, hz: float, seconds: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time), RATE)


def record(root: Path, word: str, speaker: str, count: int) -> None:
    for i in range(count):
        write_tone(root / word / f"{speaker}_nohash_{i}.wav", 300 + i)


@pytest.fixture
def source(tmp_path) -> MixedSource:
    """anna is heard in training, ben in validation and cleo in testing; only lights is recorded, and door."""
    root = tmp_path / "recordings"
    for speaker, count in (("anna", 3), ("ben", 2), ("cleo", 1)):
        record(root, "lights", speaker, count)
    record(root, "door", "anna", 1)
    recorded = FolderSource(
        root=str(root),
        pattern=SPEECH_COMMANDS_PATTERN,
        test_root=None,
        words=None,
        validation_speakers=["ben"],
        test_speakers=["cleo"],
        validation_percent=10,
        test_percent=10,
        hint="",
        split_rule="dealt",
    )
    return MixedSource(
        recorded=recorded,
        synthetic=SpokenSource(tmp_path / "spoken"),
        parent=str(tmp_path / "data"),
        recorded_share=0.5,
        most_repeats=20,
        enough_recordings=2,
    )


def heard(tree: SpeechTree) -> Counter:
    """(word, split, who) of the clips."""
    return Counter(
        (clip.word, clip.split, "people" if "/recorded-" in clip.path else "machines")
        for clip in links_of(tree)[0]
    )


def module(source: MixedSource, tmp_path: Path) -> KeywordDataModule:
    made = KeywordDataModule(
        source=source,
        task=Task(["lights", "music"], unknown=True, silence=True),
        sample_rate=RATE,
        clip_seconds=1.0,
        batch_size=8,
        evaluation_batch_size=8,
        silence_volume=1.0,
        cache=tmp_path / "packed",
        seed=0,
    )
    made.setup()
    return made


def test_a_word_that_people_said_often_enough_is_scored_on_people_alone(source):
    counts = heard(source.prepare())

    assert counts["lights", VALIDATION, "people"] == 2
    assert counts["lights", VALIDATION, "machines"] == 0
    # One is not enough.
    assert counts["lights", TEST, "people"] == 1
    assert counts["lights", TEST, "machines"] == 3 * TAKES
    assert counts["music", VALIDATION, "machines"] == counts["music", TEST, "machines"] == 3 * TAKES
    assert counts["lights", TRAIN, "machines"] == 8 * TAKES
    assert counts["door", TRAIN, "people"] == 1


def test_no_speaker_is_in_two_splits(source):
    splits: dict[str, set[str]] = {}
    for clip in links_of(source.prepare())[0]:
        splits.setdefault(Path(clip.path).name.split("_nohash_")[0], set()).add(clip.split)

    assert {len(found) for found in splits.values()} == {1}
    assert splits["recorded-ben"] == {VALIDATION}
    assert splits["recorded-cleo"] == {TEST}


def undivided(source: MixedSource) -> MixedSource:
    recorded = replace(source.recorded, validation_speakers=(), test_speakers=())
    return replace(source, recorded=recorded)


@pytest.mark.parametrize("speaker", ["anna", "root", "ben", "me", "590750e8"])
def test_one_persons_recordings_all_train(source, tmp_path, caplog, speaker):
    shutil.rmtree(tmp_path / "recordings")
    record(tmp_path / "recordings", "lights", speaker, 40)
    caplog.set_level("INFO")
    counts = heard(undivided(source).prepare())
    assert counts["lights", TRAIN, "people"] == 40
    assert counts["lights", VALIDATION, "machines"] == counts["lights", TEST, "machines"] == 6
    assert (
        f"recordings: train 40 by {speaker}, validation none, test none; no figure" in caplog.text
    )


def test_three_people_are_dealt_out(source, caplog):
    caplog.set_level("INFO")
    recorded = [
        clip for clip in links_of(undivided(source).prepare())[0] if "recorded-" in clip.path
    ]
    people = {split: {clip.path for clip in recorded if clip.split == split} for split in SPLITS}
    assert all(people.values()), "each split has somebody"
    assert any("lights/" in path for path in people[TRAIN])
    assert " 1 by cleo" in caplog.text and "no figure" not in caplog.text


def test_a_name_that_is_not_utf8_is_left_out_and_said(source, tmp_path, caplog):
    clip = tmp_path / "recordings" / "lights" / "anna_nohash_0.wav"
    shutil.copy(clip, os.fsencode(clip.parent) + b"/m\xfcller_nohash_0.wav")
    clips = module(source, tmp_path)
    assert "anna_nohash_0.wav" in str(clips.packed.paths) and len(clips.packed.left_out) == 1
    assert r"m\udcfcller_nohash_0.wav has a name that is not UTF-8: rename it" in caplog.text


def test_recordings_that_would_train_nothing_are_refused(source):
    recorded = replace(source.recorded, validation_speakers=["anna", "ben"])
    with pytest.raises(KwsError, match="recordings of 'lights' to train on, all 6 are held out"):
        replace(source, recorded=recorded).prepare()


@pytest.mark.parametrize(
    "share, most, times",
    # 16 synthetic and 3 recorded clips of lights.
    [(0.5, 20, 5), (0.5, 4, 4), (0.2, 20, 1), (0.0, 20, 1), (0.75, 99, 16)],
)
def test_recordings_are_repeated_to_their_share_of_an_epoch(source, tmp_path, share, most, times):
    made = module(replace(source, recorded_share=share, most_repeats=most), tmp_path)
    rows = np.concatenate(list(made.train_dataloader().sampler))
    seen = Counter(made.packed.paths[row] for row in rows if row >= 0)
    lights = {path: count for path, count in seen.items() if path.startswith("lights/")}

    assert {count for path, count in lights.items() if "recorded-" in path} == {times}
    assert {count for path, count in lights.items() if "recorded-" not in path} == {1}
    assert len(lights) == 3 + 8 * TAKES


def test_scores_count_every_clip_once(source, tmp_path):
    names = module(source, tmp_path).evaluation_set(VALIDATION).names

    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("lights/")] == [
        "lights/recorded-ben_nohash_0.wav",
        "lights/recorded-ben_nohash_1.wav",
    ]


def test_the_fingerprint_covers_recordings_and_synthetic_speech(source, tmp_path):
    first = module(source, tmp_path).fingerprint
    assert module(source, tmp_path).fingerprint == first

    write_tone(tmp_path / "recordings" / "lights" / "anna_nohash_0.wav", 999)
    changed = module(source, tmp_path).fingerprint
    record(tmp_path / "recordings", "lights", "dora", 1)
    added = module(source, tmp_path).fingerprint
    write_tone(tmp_path / "spoken" / "music" / "train0_nohash_0.wav", 999)
    spoken = module(source, tmp_path).fingerprint

    assert len({first, changed, added, spoken}) == 4


def test_what_made_the_synthetic_part_is_told(source, tmp_path):
    assert module(source, tmp_path).made_by == "tones"


def test_background_noise_of_both_is_used(source, tmp_path):
    write_tone(tmp_path / "recordings" / "_background_noise_" / "hiss.wav", 70, seconds=2)
    write_tone(tmp_path / "recordings" / "_background_noise_" / "home" / "hiss.wav", 80, seconds=4)
    noises = module(source, tmp_path).packed.noises

    assert {path: len(noise) / RATE for path, noise in noises.items()} == {
        "hiss.wav": 3,
        "recorded-hiss.wav": 2,
        "recorded-home_hiss.wav": 4,
    }


def test_links_are_made_once(source, tmp_path):
    assert source.prepare() == source.prepare()
    assert len(list((tmp_path / "data").iterdir())) == 1
    moved = replace(source, recorded=replace(source.recorded, validation_speakers=["anna"]))
    assert moved.prepare().root != source.prepare().root


@pytest.mark.parametrize(
    "folder, complaint",
    [
        ("Music", ".Music. and .music. are one word in two spellings"),
        (None, r"expected recordings of the keywords \(lights, music\), found door"),
    ],
)
def test_recordings_of_no_keyword_are_refused(source, tmp_path, folder, complaint):
    root = tmp_path / "recordings"
    if folder:
        record(root, folder, "anna", 1)
    else:
        (root / "lights").rename(root / ".lights")
        for speaker in ("ben", "cleo"):
            record(root, "door", speaker, 1)
    with pytest.raises(KwsError, match=complaint):
        source.prepare()
    assert not (tmp_path / "spoken").exists()


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"recorded_share": 1}, "recorded_share must be below 1, got 1"),
        ({"most_repeats": 0}, "most_repeats must be a whole number of 1 or more, got 0"),
        ({"enough_recordings": 0}, "enough_recordings must be a whole number of 1"),
    ],
)
def test_settings_out_of_range_are_refused(source, changes, complaint):
    with pytest.raises(KwsError, match=complaint):
        replace(source, **changes)
