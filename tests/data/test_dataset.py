import subprocess
import sys

import numpy as np
import pytest
from tones import SAMPLE_RATE, make_tree

from speech_commands_kws.data.dataset import KeywordDataset, labelled_split
from speech_commands_kws.data.speech_tree import SpeechTree
from speech_commands_kws.data.task import Task
from speech_commands_kws.errors import KwsError

LABELS = ["_silence_", "_unknown_", "yes", "no"]


class Source:
    """A tree whose speakers are divided by hand."""

    def __init__(self, root):
        self.root = root

    def prepare(self) -> SpeechTree:
        return SpeechTree(self.root, validation_speakers=["anna"], test_speakers=["bert"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data") / "tree")


def split_of(tree, split, labels):
    drawing = {"silence_volume": 1.0, "cache": tree.parent / "packed", "seed": 0}
    return labelled_split(Source(tree), split, labels, SAMPLE_RATE, SAMPLE_RATE, **drawing)


def test_a_split_in_a_models_classes_is_what_its_training_was_scored_on(tree):
    task = Task(["yes", "no"], unknown=True, silence=True)
    packed = tree.parent / "packed"
    dataset = KeywordDataset(Source(tree), task, SAMPLE_RATE, SAMPLE_RATE, 1.0, packed, 0)
    for split in ("validation", "test"):
        expected, found = dataset.evaluation_set(split), split_of(tree, split, LABELS)
        assert found.names == expected.names and found.fingerprint == expected.fingerprint
        np.testing.assert_array_equal(found.targets, expected.targets)
        np.testing.assert_array_equal(*(next(clips.batches(99)) for clips in (found, expected)))


def test_data_of_other_classes_or_an_unknown_split_is_one_clear_error(tree):
    with pytest.raises(KwsError, match="model's labels .*_unknown_"):
        split_of(tree, "validation", ["_unknown_", "_silence_", "yes", "no"])
    with pytest.raises(KwsError, match="split must be one of train, validation, test"):
        split_of(tree, "all", LABELS)


def test_a_dataset_is_opened_without_torch():
    program = "import speech_commands_kws.data.dataset, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
