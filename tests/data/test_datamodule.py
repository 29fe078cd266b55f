import shutil

import numpy as np
import pytest
import soundfile
import torch
from tones import SAMPLE_RATE, make_tree, tone

from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.data.task import Task
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import KwsError

KEYWORDS = Task(["yes", "no"], unknown=True, silence=True)


def source(tree, **changes) -> FolderSource:
    settings = dict(
        root=str(tree),
        pattern=SPEECH_COMMANDS_PATTERN,
        test_root=None,
        words=None,
        validation_speakers=["anna"],
        test_speakers=["bert"],
        validation_percent=10,
        test_percent=10,
        hint="record some",
    )
    return FolderSource(**settings | changes)


def datamodule(
    tree, task=KEYWORDS, shard=Shard(), unknown_share=1.0, **changes
) -> KeywordDataModule:
    module = KeywordDataModule(
        source(tree, **changes),
        task,
        sample_rate=SAMPLE_RATE,
        clip_seconds=1.0,
        batch_size=6,
        evaluation_batch_size=5,
        silence_volume=1.0,
        cache=tree.parent / "packed",
        seed=0,
        shard=shard,
        unknown_share=unknown_share,
    )
    module.setup()
    return module


def test_an_epoch_of_training(tree):
    module = datamodule(tree)
    clips, targets = (torch.cat(parts) for parts in zip(*module.train_dataloader(), strict=True))
    waveforms = as_waveforms(clips)
    assert module.labels == ["_silence_", "_unknown_", "yes", "no"]
    # two training speakers with four takes a word: eight clips a keyword, one class's share of the rest
    assert torch.bincount(targets).tolist() == [8, 8, 8, 8]
    assert waveforms.shape == (32, SAMPLE_RATE) and clips.dtype == torch.int16
    assert waveforms[targets == 0].abs().max() == 0, "noise comes from the augmentation"
    assert waveforms[targets > 0].abs().amax(1).min() > 0.1


def test_training_may_hear_more_other_words_than_of_a_keyword(tree):
    for wanted, heard in ((0.5, 4), (1.5, 12), (100, 16)):  # all that there are
        module = datamodule(tree, unknown_share=wanted)
        targets = torch.cat([target for _, target in module.train_dataloader()])
        assert torch.bincount(targets).tolist() == [8, heard, 8, 8]
        scored = module.evaluation_set("validation").targets
        assert np.bincount(scored).tolist() == [4, 4, 4, 4]


def test_evaluation_sets_are_fixed_and_hold_only_their_speakers(tree):
    module = datamodule(tree)
    for split, speaker in (("validation", "anna"), ("test", "bert")):
        clips = module.evaluation_set(split)
        assert np.bincount(clips.targets).tolist() == [4, 4, 4, 4]
        assert {
            name.split("/")[1].split("_")[0] for name in clips.names if "silence" not in name
        } == {speaker}
        once, again = (
            np.concatenate(list(module.evaluation_set(split).batches(7))) for _ in range(2)
        )
        assert np.array_equal(once, again)
        some = np.array([15, 0, 3])
        assert np.array_equal(clips.waveforms(some), once[some])
        silence = once[clips.targets == 0]
        assert (np.abs(silence).max(axis=1) > 0).all() and len(np.unique(silence[:, 0])) == 4


def test_validation_batches_are_the_evaluation_set(tree):
    module = datamodule(tree)
    waveforms, targets = (torch.cat(parts) for parts in zip(*module.val_dataloader(), strict=True))
    clips = module.evaluation_set("validation")
    assert np.array_equal(targets.numpy(), clips.targets)
    assert np.array_equal(waveforms.numpy(), np.concatenate(list(clips.batches(100))))


def test_official_test_folder_is_used_whole_where_its_classes_fit(tree, tmp_path):
    test_root = tmp_path / "test_set"
    for label, word in (("_silence_", None), ("_unknown_", "tree"), ("yes", "yes"), ("no", "no")):
        (test_root / label).mkdir(parents=True)
        for k in range(3):
            waveform = np.zeros(SAMPLE_RATE) if word is None else tone(word, k)
            soundfile.write(test_root / label / f"tree_zoe_nohash_{k}.wav", waveform, SAMPLE_RATE)
    clips = datamodule(tree, test_root=str(test_root)).evaluation_set("test")
    assert np.bincount(clips.targets).tolist() == [3, 3, 3, 3]
    other_task = datamodule(tree, Task(["bird", "no"], True, True), test_root=str(test_root))
    assert {name.split("_")[0] for name in other_task.evaluation_set("test").names} > {"bird/bert"}


def test_without_unknown_the_other_words_are_left_out(tree):
    module = datamodule(tree, Task(["yes", "no"], unknown=False, silence=False))
    targets = torch.cat([target for _, target in module.train_dataloader()])
    assert torch.bincount(targets).tolist() == [8, 8]


def test_missing_root_says_what_to_do(tmp_path):
    with pytest.raises(KwsError, match="data.root=.*record some"):
        source(tmp_path / "nowhere").prepare()


def test_a_split_without_clips_is_an_error(tree):
    with pytest.raises(KwsError, match="none for train"):
        datamodule(tree, validation_speakers=["anna"], test_speakers=["bert", "carl", "dora"])


def test_recordings_of_two_people_alone_are_refused_and_of_three_dealt_out(tree, tmp_path, caplog):
    tree = shutil.copytree(tree, tmp_path / "people")
    nobody = {"validation_speakers": [], "test_speakers": [], "split_rule": "dealt"}
    caplog.set_level("INFO")
    module = datamodule(tree, **nobody)
    assert all((module.splits == split).any() for split in ("train", "validation", "test"))
    assert "validation 16 by " in caplog.text
    assert "_silence_ as many clips each as of one keyword, in training" in caplog.text
    for clip in [*tree.rglob("carl_*"), *tree.rglob("dora_*")]:
        clip.unlink()
    with pytest.raises(KwsError, match="none for validation; all are by 2 speakers: .*data=mixed"):
        datamodule(tree, **nobody)


def test_without_other_words_one_line_says_what_that_means(tree, caplog):
    datamodule(tree, Task(["yes", "no", "bird", "tree"], True, True))
    assert "no recordings of other words: whatever is said will be taken for" in caplog.text


def test_unknown_split_is_an_error(tree):
    with pytest.raises(KwsError, match="split must be one of train, validation, test, got dev"):
        datamodule(tree).evaluation_set("dev")


def test_processes_share_the_clips_of_validation(tree):
    clips = datamodule(tree).evaluation_set("validation")
    loaders = [datamodule(tree, shard=Shard(i, 3)).val_dataloader() for i in range(3)]
    batches = [list(loader) for loader in loaders]
    assert [len(each) for each in batches] == [
        3,
        3,
        3,
    ]  # 16 clips in fives, and one that is left over
    parts = [part for each in zip(*batches, strict=True) for part in each]
    assert sum(len(targets) for _, targets in parts) == len(clips) == 16
    heard = sorted(waveform.sum().item() for waveforms, _ in parts for waveform in waveforms)
    assert heard == sorted(torch.from_numpy(clips.waveforms(slice(None))).sum(1).tolist())
    assert torch.cat([targets for _, targets in parts]).bincount().tolist() == [4, 4, 4, 4]


def test_a_keyword_that_nobody_trains_on_is_refused_and_an_unscored_one_is_named(tmp_path, caplog):
    root = make_tree(tmp_path / "tree", takes=1)
    for path in (root / "yes").glob("*"):
        if not path.name.startswith("anna"):
            path.unlink()
    module = datamodule(root)
    with pytest.raises(KwsError, match="every keyword to train on, found none of yes; add"):
        module.train_dataloader()
    assert not caplog.messages
    datamodule(root, validation_speakers=["carl"], test_speakers=["bert"])
    assert caplog.messages == ["no clip for validation of yes: nothing scores them"]


def test_where_lists_leave_no_validation_they_are_named(tmp_path):
    root = make_tree(tmp_path / "tree", takes=1)
    (root / "validation_list.txt").touch()
    (root / "testing_list.txt").write_text("yes/anna_nohash_0.wav\n")
    with pytest.raises(KwsError, match=r"none for validation; .*where no validation_list.txt lies"):
        datamodule(root, validation_speakers=(), test_speakers=())


def test_a_test_set_that_is_not_there_is_said(tree, tmp_path, caplog):
    datamodule(tree, test_root=str(tmp_path / "nowhere"))
    assert "no test set at data.test_root=" in caplog.messages[0]
