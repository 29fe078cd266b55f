import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from tones import SAMPLE_RATE

from speech_commands_kws.data.dataset import KeywordDataset, labelled_folder, labelled_split
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


def test_noise_shorter_than_a_clip_is_repeated(tree, tmp_path):
    tree = shutil.copytree(tree, tmp_path / "short", ignore=shutil.ignore_patterns("hiss.wav"))
    write(tree / "_background_noise_" / "short.wav", seconds=0.3)
    clips = split_of(tree, "validation", LABELS)
    assert (np.abs(clips.extra) > 0).all()


def test_data_of_other_classes_or_an_unknown_split_is_one_clear_error(tree):
    with pytest.raises(KwsError, match="model's labels .*_unknown_"):
        split_of(tree, "validation", ["_unknown_", "_silence_", "yes", "no"])
    with pytest.raises(KwsError, match="split must be one of train, validation, test"):
        split_of(tree, "all", LABELS)


def test_a_dataset_is_opened_without_torch():
    program = "import speech_commands_kws.data.dataset, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def write(path, seconds=1.0, rate=SAMPLE_RATE, level=0.25, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = np.full((round(seconds * rate), channels), level, np.float32)
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)


@pytest.fixture
def folder(tmp_path):
    tmp_path = tmp_path / "clips"
    write(tmp_path / "yes/one.wav", level=0.5)
    write(tmp_path / "no/half a second.wav", seconds=0.5)
    write(tmp_path / "bird/stereo.flac", rate=44_100, channels=2)
    write(tmp_path / "_silence_/zeros.wav", level=0.0)
    write(tmp_path / "_background_noise_/hum.wav", seconds=3.0)
    (tmp_path / "yes/text.wav").write_text("not audio")
    return tmp_path


def test_names_targets_and_waveforms_agree(folder, tmp_path):
    clips = labelled_folder(folder, LABELS, SAMPLE_RATE, SAMPLE_RATE, tmp_path / "packed")
    names = ["_silence_/zeros.wav", "bird/stereo.flac", "no/half a second.wav", "yes/one.wav"]
    assert clips.names == names
    np.testing.assert_array_equal(clips.targets, [0, 1, 3, 2])
    batches = list(clips.batches(3))
    assert [batch.shape for batch in batches] == [(3, SAMPLE_RATE), (1, SAMPLE_RATE)]
    waveforms = np.concatenate(batches)
    assert waveforms.dtype == np.float32
    np.testing.assert_allclose(waveforms[3], 0.5)
    np.testing.assert_allclose(waveforms[1, 1000:-1000], 0.25, atol=1e-3)
    assert waveforms[2].sum() == pytest.approx(0.25 * SAMPLE_RATE / 2)
    assert waveforms[2, 0] == 0
    assert list(clips.noises) == ["hum.wav"]
    assert clips.noises["hum.wav"].tolist() == [0.25] * 3 * SAMPLE_RATE


def test_words_that_no_label_stands_for_and_a_missing_folder_are_errors(folder, tmp_path):
    signal = (SAMPLE_RATE, SAMPLE_RATE, tmp_path / "packed")
    with pytest.raises(KwsError, match=r"words \(yes, no\), got _silence_, bird: give other clips"):
        labelled_folder(folder, ["yes", "no"], *signal)
    with pytest.raises(KwsError, match="got _silence_, bird, no, yes: give"):
        labelled_folder(folder, ["_unknown_", "cat"], *signal)
    with pytest.raises(KwsError, match="'Bird' and 'bird' are one word in two spellings"):
        labelled_folder(folder, ["_unknown_", "Bird"], *signal)
    with pytest.raises(KwsError, match="expected a folder of <word>/<clip> at input=.*nowhere"):
        labelled_folder(tmp_path / "nowhere", LABELS, *signal)
