import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST
from speech_commands_kws.data.sources import synthetic
from speech_commands_kws.data.sources.synthetic import (
    SyntheticSource,
    cast_speaker,
    plan_chunks,
    plan_takes,
    settings_hash,
)
from speech_commands_kws.data.speech_tree import (
    TEST,
    TRAIN,
    VALIDATION,
    assign_splits,
    published_split,
)
from speech_commands_kws.data.synthesis.near_misses import OtherWords
from speech_commands_kws.errors import KwsError

RATE = 16_000
SMALL = {
    "speakers": 10,
    "takes_per_word": 2,
    "unknown_per_speaker": 1,
    "near_misses": 2,
    "near_misses_per_speaker": 1,
    "noise_seconds": 2.0,
    "babble_voices": 3,
}


OTHERS = OtherWords(["bed", "bird", "cat"], {"yes": ["yet", "less"], "no": ["now", "low"]})


def configured_source(parent: Path, **changes) -> SyntheticSource:
    """The source of configs/data/synthetic.yaml with changes."""
    with initialize_config_dir(CONFIG_DIR, job_name="test"):
        cfg = compose("train", ["data=synthetic"])
    cfg.paths.data = str(parent)
    source = instantiate(cfg.data.source, _execution_whitelist_=EXECUTION_WHITELIST)
    return replace(source, **changes)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tree of ten speakers, two keywords and some unknown words: the source and the tree."""
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    parent = tmp_path_factory.mktemp("data")
    source = configured_source(parent, words=["yes", "computer"], **SMALL)
    return source, source.prepare()


def clip_paths(tree) -> list[str]:
    return sorted(
        path.relative_to(tree.root).as_posix()
        for path in tree.root.glob("*/*.wav")
        if not path.parent.name.startswith("_")
    )


def test_the_tree_has_the_names_and_numbers_of_speech_commands(small):
    source, tree = small
    paths = clip_paths(tree)
    words = Counter(path.split("/")[0] for path in paths)

    assert all(re.fullmatch(r"[a-z]+/[0-9a-f]{8}_nohash_[01]\.wav", path) for path in paths)
    assert words["yes"] == words["computer"] == 10 * 2
    assert sum(words.values()) == 2 * 10 * 2 + 10 + 10
    near = json.loads((tree.root / "synthetic.json").read_text())["near_misses"]
    assert near == {"yes": ["yeah", "yet"], "computer": ["computers", "commuter"]}
    others = set(words) - {"yes", "computer"}
    assert others - set(source.unknown_words) == {"yeah", "yet", "computers", "commuter"}


def test_every_clip_is_a_second_with_a_whole_word_that_does_not_clip(small):
    _, tree = small
    for path in clip_paths(tree):
        waveform, rate = soundfile.read(tree.root / path)
        frames = np.sqrt(np.mean(np.square(waveform.reshape(-1, 160)), axis=1))
        loud = np.flatnonzero(frames > frames.max() / 2)

        assert (len(waveform), rate) == (RATE, RATE), path
        assert 0.01 < np.abs(waveform).max() < 0.99, path
        # The loud part of a word: not the whole clip, not at its edge.
        assert 3 <= loud[0] and loud[-1] <= 96, path
        assert np.sort(frames)[-20:].mean() > 3 * np.sort(frames)[:10].mean(), path


def test_background_noise_is_there_at_its_level(small):
    source, tree = small
    levels = {}
    for path in (tree.root / "_background_noise_").iterdir():
        waveform, _ = soundfile.read(path)
        assert len(waveform) == 2 * RATE
        levels[path.stem] = 20 * np.log10(np.std(waveform))

    assert levels == {
        "white_noise": pytest.approx(source.noise_level_db, abs=0.1),
        "pink_noise": pytest.approx(source.noise_level_db, abs=0.1),
        "brown_noise": pytest.approx(source.noise_level_db, abs=0.1),
        "mains_hum_50_hz": pytest.approx(source.hum_level_db, abs=0.1),
        "mains_hum_60_hz": pytest.approx(source.hum_level_db, abs=0.1),
        "babble_0": pytest.approx(source.babble_level_db, abs=0.1),
        "babble_1": pytest.approx(source.babble_level_db, abs=0.1),
    }


def test_the_tree_says_plainly_what_it_is(small):
    source, tree = small
    facts = json.loads((tree.root / "synthetic.json").read_text())

    assert "not recordings of people" in facts["description"]
    assert tree.made_by == facts["made_by"]
    assert tree.near_misses and set(tree.near_misses) <= {path.name for path in tree.root.iterdir()}
    # All of ten speakers are of the first engine.
    assert "espeakng-loader 0" in tree.made_by and "GPL-3.0" in tree.made_by
    assert "hibari" not in tree.made_by
    assert facts["settings"]["words"] == ["yes", "computer"]
    assert str(Path(source.parent)) not in json.dumps(facts)
    assert {path.split("/")[1][:8] for path in clip_paths(tree)} == {
        speaker["name"] for speaker in facts["speakers"]
    }


def test_equal_settings_give_equal_bytes_elsewhere(small, tmp_path):
    source, tree = small
    again = replace(source, parent=str(tmp_path)).prepare()

    files = sorted(path.relative_to(tree.root) for path in tree.root.rglob("*.*"))
    assert files == sorted(path.relative_to(again.root) for path in again.root.rglob("*.*"))
    different = [
        str(path)
        for path in files
        if (tree.root / path).read_bytes() != (again.root / path).read_bytes()
    ]
    assert different == []


def test_a_tree_that_is_there_is_not_made_again_and_needs_no_engine(small, monkeypatch):
    source, tree = small
    monkeypatch.setattr(synthetic, "make_whole", None)
    monkeypatch.setattr(synthetic, "origins_of", None)

    assert source.prepare() == tree


def test_takes_of_a_speaker_differ_and_speakers_differ_more(small):
    _, tree = small
    speakers = sorted({path.split("/")[1][:8] for path in clip_paths(tree)})

    def spectrum(speaker, take):
        waveform, _ = soundfile.read(tree.root / "yes" / f"{speaker}_nohash_{take}.wav")
        power = np.abs(np.fft.rfft(waveform)) ** 2
        bands = np.array([band.sum() for band in np.array_split(power, 80)[:40]])
        return 10 * np.log10(bands / bands.sum())

    within = [np.abs(spectrum(name, 0) - spectrum(name, 1)).mean() for name in speakers]
    between = [
        np.abs(spectrum(one, 0) - spectrum(other, 0)).mean()
        for one, other in zip(speakers, speakers[1:])
    ]
    assert min(within) > 0.01
    assert np.mean(between) > 1.5 * np.mean(within)


def test_the_split_rule_keeps_voices_apart_in_the_shares_of_the_published_split(small):
    source, tree = small
    speakers = [cast_speaker(source, number) for number in range(140)]
    shares = Counter(published_split(speaker.name, 10, 10) for speaker in speakers)
    voices = {
        split: {
            speaker.person.voice.variant
            for speaker in speakers
            if published_split(speaker.name, 10, 10) == split and speaker.person.engine == "espeak"
        }
        for split in (TRAIN, VALIDATION, TEST)
    }

    assert shares == {TRAIN: 112, VALIDATION: 14, TEST: 14}
    assert not voices[TRAIN] & voices[VALIDATION]
    assert not voices[TRAIN] & voices[TEST]
    assert not voices[VALIDATION] & voices[TEST]
    assert len({speaker.name for speaker in speakers}) == 140
    paths = clip_paths(tree)
    words, speakers = zip(*((path.split("/")[0], path.split("/")[1][:8]) for path in paths))
    splits = assign_splits(tree, paths, words, speakers)
    assert Counter(splits.tolist()) == {TRAIN: 48, VALIDATION: 6, TEST: 6}


def test_the_speakers_that_there_were_stay_when_there_are_more(tmp_path):
    few, many = (configured_source(tmp_path, speakers=number) for number in (20, 50))

    assert plan_takes(few, 19, OTHERS) == plan_takes(many, 19, OTHERS)


def test_takes_stay_within_the_jitter_of_their_speaker(tmp_path):
    source = configured_source(tmp_path)
    for number in range(20):
        speaker = cast_speaker(source, number)
        for take in plan_takes(source, number, OTHERS):
            person = take.line.person
            assert abs(person.speed / speaker.person.speed - 1) <= source.speed_jitter
            assert replace(person, speed=speaker.person.speed) == speaker.person
            assert abs(take.level_db - speaker.level_db) <= source.level_jitter_db
            assert source.position[0] <= take.position <= source.position[1]
            assert source.speed[0] <= speaker.person.speed <= source.speed[1]


def test_the_chunks_do_not_depend_on_the_machine_and_cover_all_takes(tmp_path):
    source = configured_source(tmp_path, speakers=23, speakers_per_chunk=10)
    chunks = plan_chunks(source, tmp_path, OTHERS)
    paths = [take.path for chunk in chunks for take in chunk.takes]

    assert [len({path.split("/")[1][:8] for path in names}) for names in (paths,)] == [23]
    assert len(paths) == len(set(paths)) == 23 * (10 * 3 + 6 + 6)
    assert [len(chunk.babbles) for chunk in chunks] == [0, 0, 0, 1, 1]


def test_other_words_go_round(tmp_path):
    source = configured_source(
        tmp_path, words=["on", "yes"], unknown_per_speaker=2, near_misses_per_speaker=1
    )
    others = OtherWords(["dog", "bird"], {"on": ["own", "an"], "yes": ["yet"]})
    said = Counter(
        take.line.text for number in range(9) for take in plan_takes(source, number, others)
    )

    assert said == {"on": 27, "yes": 27, "dog": 9, "bird": 9, "own": 3, "an": 3, "yet": 3}


def test_the_settings_of_older_runs_still_make_a_source(tmp_path):
    now = configured_source(tmp_path)
    older = {key: value for key, value in vars(now).items() if not key.startswith("near_miss")}
    assert SyntheticSource(**older).near_misses == 0


def test_the_engine_that_is_held_out_is_tested_on_and_no_other(tmp_path):
    source = configured_source(tmp_path, held_out="hibari")
    speakers = [cast_speaker(source, number) for number in range(source.speakers)]
    engines = {
        split: {
            speaker.person.engine
            for speaker in speakers
            if published_split(speaker.name, 10, 10) == split
        }
        for split in (TRAIN, VALIDATION, TEST)
    }

    assert engines == {TRAIN: {"espeak"}, VALIDATION: {"espeak"}, TEST: {"hibari"}}


def test_there_may_be_no_other_words(tmp_path):
    source = configured_source(tmp_path, words=["yes"])
    assert {take.line.text for take in plan_takes(source, 0, OtherWords([], {}))} == {"yes"}


@pytest.mark.parametrize(
    "changes, is_same",
    [
        ({"parent": "/elsewhere"}, True),
        ({"seed": 1}, False),
        ({}, True),
        ({"near_misses": 0}, False),
        ({"shares": {"espeak": 1}}, False),
        ({"held_out": "hibari"}, False),
        ({"near_miss_candidates": ["yet"]}, False),
    ],
)
def test_the_folder_is_named_by_the_settings_not_by_the_place(tmp_path, changes, is_same):
    source = configured_source(tmp_path)

    assert (settings_hash(replace(source, **changes)) == settings_hash(source)) == is_same


def test_voices_of_the_configuration_exist_and_are_distinct(tmp_path):
    loader = pytest.importorskip("espeakng_loader", reason="the extra is not installed")
    variants = configured_source(tmp_path).voices["espeak"].variants
    folder = Path(loader.get_data_path()) / "voices" / "!v"

    assert [variant for variant in variants if not (folder / variant).is_file()] == []
    assert len(variants) == len(set(variants)) == 70


def test_words_are_overridden_on_the_command_line(tmp_path):
    overrides = ["data=synthetic", "data.words=[computer,on,no]", f"paths.data={tmp_path}"]
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides=overrides)
    source = instantiate(cfg.data.source, _execution_whitelist_=EXECUTION_WHITELIST)

    # Not [computer, True, False], which YAML makes of them.
    assert source.words == ["computer", "on", "no"]


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"words": []}, "words must be a list of texts such as .* got ..$"),
        ({"words": ["yes", "yes"]}, "words must name each word once .*, got yes, yes"),
        ({"words": ["yes", "_unknown_"]}, "got '_unknown_'"),
        ({"words": ["yes", 7]}, "words must be a list of texts .*quotes .*got .'yes', 7.$"),
        ({"unknown_words": ["a/b"]}, "unknown_words must be .*got 'a/b'"),
        ({"speakers": 9}, "speakers must be a whole number of 10 or more, got 9"),
        ({"shares": {}}, "shares must give some of the engines"),
        ({"near_misses": -1}, "near_misses must be a whole number of 0 or more, got -1"),
        ({"near_miss_candidates": ["a/b"]}, "near_miss_candidates must be .*got 'a/b'"),
        ({"takes_per_word": 0}, "takes_per_word must be a whole number of 1 or more"),
    ],
)
def test_settings_that_make_no_tree_are_refused_before_anything_is_written(
    tmp_path, changes, complaint
):
    with pytest.raises(KwsError, match=complaint):
        configured_source(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_word_too_long_for_a_clip_is_named_and_leaves_nothing(tmp_path):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    words = ["yes", "antidisestablishmentarianism"]
    with pytest.raises(KwsError, match="'antidisestablishmentarianism' is longer than a clip"):
        configured_source(tmp_path, words=words, **SMALL).prepare()
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("speech_commands_kws.data.synthesis.espeak.find_spec", lambda name: None)

    with pytest.raises(KwsError, match=r'pip install "speech-commands-kws\[synthetic\]"'):
        configured_source(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == []
