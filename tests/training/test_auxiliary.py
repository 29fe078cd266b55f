"""Other words as an auxiliary task: which clips it hears, what it teaches, and that the model is left without it."""

import copy

import pytest
import torch
from hydra import compose, initialize_config_dir
from tone_trainings import (
    CLASSIFIER,
    answers_of,
    assert_an_interruption_changes_nothing,
    built,
    overrides,
    train,
    weights,
)
from tones import make_tree
from trained_looking import OPSET

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.run_data import load_trained
from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.onnx_export import write_onnx
from speech_commands_kws.training.auxiliary import AuxiliaryWords

LABELS = ["_silence_", "_unknown_", "yes", "no"]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four words by four speakers, of whom dora is held out."""
    root = make_tree(tmp_path_factory.mktemp("people") / "speech", takes=2)
    (root / "validation_list.txt").write_text("bird/dora_nohash_0.wav\nbird/dora_nohash_1.wav\n")
    (root / "testing_list.txt").write_text("tree/dora_nohash_0.wav\ntree/dora_nohash_1.wav\n")
    return root


@pytest.fixture
def listen(people, tmp_path):
    def opened(**given) -> AuxiliaryWords:
        settings = {"root": people, "words": None, "labels": LABELS, "share": 1.0, "weight": 1.0}
        return AuxiliaryWords(
            **settings | given, sample_rate=16000, clip_seconds=1.0, cache=tmp_path
        )

    return opened


def with_other_words(people) -> list[str]:
    return ["auxiliary=words", f"auxiliary.root={people}"]


def test_keywords_and_speakers_who_are_held_out_are_not_heard(listen):
    others = listen()
    assert others.words == ["bird", "tree"]
    heard = {others.packed.paths[row] for row in others.rows}
    assert len(heard) == 2 * 3 * 2 and not any("dora" in path or "yes" in path for path in heard)


def test_clips_are_drawn_by_the_generator_and_come_with_their_words(listen):
    others = listen(share=0.5)
    generator = torch.Generator().manual_seed(1)
    clips, targets, _ = others.draw(8, generator)
    assert clips.shape == (4, 16000) and 0 < clips.abs().max() <= 1
    again, same, _ = others.draw(8, torch.Generator().manual_seed(1))
    assert clips.equal(again) and targets.equal(same)
    # "bird" is a tone of 1,700 Hz, "tree" one of 2,600 Hz.
    tone = torch.fft.rfft(clips).abs()[:, 1000:4000].argmax(dim=1) + 1000
    assert tone.tolist() == [{4: 1700, 5: 2600}[target] for target in targets.tolist()]
    later, *_ = others.draw(8, generator)
    assert not clips.equal(later)


def test_a_copy_of_the_module_copies_no_clips(listen):
    others = listen()
    assert copy.deepcopy({"others": others})["others"] is others


def test_some_of_the_words_may_be_chosen(listen):
    assert listen(words=["bird", "tree", "yes", "unheard"]).words == ["bird", "tree"]
    with pytest.raises(KwsError, match="found bird: name a folder"):
        listen(words=["bird", "yes"])


def test_one_other_word_is_nothing_to_tell_apart(listen):
    with pytest.raises(
        KwsError, match="expected recordings of at least 2 other words at auxil.*bird"
    ):
        listen(labels=[*LABELS, "tree"])
    with pytest.raises(SettingError, match="weight must be"):
        listen(weight=0)


def test_that_people_say_no_keyword_is_not_taught(tree, people, tmp_path):
    """The classes learn from the clips of the data alone, and the other words from the others."""
    module = built(tree, tmp_path, "augment=none", *with_other_words(people))
    given = answers_of(module)
    waveform = torch.randn(6, 16000, generator=torch.Generator().manual_seed(0)) / 10
    # The last two clips are of `_unknown_`, one of them of an other word.
    targets = torch.tensor([0, 2, 3, 2, 1, 5])
    module.training_step((waveform, targets), 0).backward()
    taught = given[0].grad != 0
    assert taught.shape == (6 + 6, 4 + 2)
    assert taught[:6, :4].all() and taught[5:, 4:].all()
    assert not taught[6:, :4].any() and not taught[:5, 4:].any()
    assert (given[0].grad[[4, 5], 1] < 0).all()  # both are to be `_unknown_`
    assert given[0].grad[5, 5] < 0 and given[0].grad[5, 4] > 0
    module.auxiliary.weight = 3.0
    module.training_step((waveform, targets), 0).backward()
    assert given[1].grad[5:, 4:].allclose(3 * given[0].grad[5:, 4:])
    assert given[1].grad[:, :4].equal(given[0].grad[:, :4])


def test_clips_of_the_data_that_say_such_a_word_come_with_its_number(tree, people, tmp_path):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, tmp_path, *with_other_words(people)))
    datamodule = build_datamodule(cfg, Shard())
    module = build_module(cfg, datamodule)
    targets = torch.cat([part for _, part in datamodule.train_dataloader()])
    # Eight clips of `_unknown_`, birds and trees.
    counts = torch.bincount(targets, minlength=6).tolist()
    assert counts[:4] == [8, 0, 8, 8] and sum(counts[4:]) == 8 and min(counts[4:]) > 0
    assert torch.bincount(module.auxiliary.classes_of(targets)).tolist() == [8, 8, 8, 8]
    assert max(datamodule.evaluation_set("validation").targets) == 3


def test_the_model_has_the_classes_alone(tree, people, tmp_path):
    measured = "+sweep.objectives.cpu_latency_ms=minimize"
    whole = train(tree, tmp_path / "whole", *with_other_words(people), measured)
    spotter, info = load_trained(whole, whole / "checkpoints/best.ckpt")
    facts = info.training
    assert info.labels == tuple(LABELS) and facts["auxiliary_words"] == ["bird", "tree"]
    assert facts["auxiliary_data"] == "2 words of speech"
    assert spotter(torch.zeros(2, 16000)).shape == (2, len(LABELS))
    best = weights(whole, "best.ckpt")[CLASSIFIER]
    assert spotter.backbone.head[-1].weight.equal(best[: len(LABELS)])
    assert len(best) == len(LABELS) + 2
    write_onnx(spotter, info, OPSET, tmp_path / "model.onnx")
    assert OnnxBackend(tmp_path / "model.onnx").info.labels == tuple(LABELS)


def test_an_interrupted_training_goes_on_to_the_same_weights(tree, people, tmp_path):
    assert_an_interruption_changes_nothing(tree, tmp_path, *with_other_words(people))


def test_what_cannot_be_is_refused_before_anything_is_read(tree, tmp_path):
    nowhere = ["auxiliary=words", f"auxiliary.root={tmp_path}/nowhere", "data.root=/unread"]
    with pytest.raises(
        KwsError, match="at auxiliary.root=.*nowhere, found none: name one of <word"
    ):
        train(tree, tmp_path, *nowhere)
    with pytest.raises(KwsError, match="auxiliary= is for a training on clips"):
        train(tree, tmp_path, *nowhere, "backbone=bc_resnet_streaming", "streams=default")
