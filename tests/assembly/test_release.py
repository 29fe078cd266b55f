"""The temperature of a model file, on its way from the validation clips into the graph."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy.special import softmax
from streaming_models import streaming_spotter
from trained_looking import INFO, LABELS, SAMPLE_RATE, trained_looking

from speech_commands_kws.assembly.release import Release, build_release, write_card
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.dataset import SplitClips, labelled_split
from speech_commands_kws.data.speech_tree import SpeechTree
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.models.spotter_module import SpotterModule

QUICK = ["parity.clips=4", "parity.batch_sizes=[2]", "latency.repeats=1", "latency.warm_up=0"]


@pytest.fixture
def split(tree: Path) -> SplitClips:
    people = {"validation_speakers": ["anna"], "test_speakers": ["bert"]}
    source = SimpleNamespace(prepare=lambda: SpeechTree(tree, **people))
    drawing = {"silence_volume": 1.0, "cache": tree.parent / "packed", "seed": 0}
    return labelled_split(source, "validation", LABELS, SAMPLE_RATE, SAMPLE_RATE, **drawing)


@pytest.fixture
def spotter() -> SpotterModule:
    """It is often wrong."""
    torch.manual_seed(0)
    return trained_looking(DSCNN(len(LABELS), 40, 16, 2, [10, 4], [2, 2], 0.1))


def released(spotter: SpotterModule, split: SplitClips, path: Path, *settings: str) -> Release:
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("export", [*QUICK, "card.worst=0", *settings])
    release = build_release(cfg, build(cfg.temperature), deepcopy(spotter), INFO, split, path)
    write_card(cfg, release, split)
    return release


@pytest.mark.parametrize("value", ["null", "2.5"])
def test_the_file_answers_as_the_checkpoint_does_divided_by_the_temperature(
    value, spotter, split, tmp_path
) -> None:
    settings = [f"temperature.value={value}", "temperature.wrong_clips=1"]
    path = tmp_path / "model.onnx"
    released(spotter, split, path, *settings)
    backend, clips = OnnxBackend(path), split.waveforms(slice(None))
    facts = backend.info.training
    temperature, before = facts["temperature"], facts["before_temperature"]
    with torch.inference_mode():
        logits = spotter(torch.from_numpy(clips)).numpy()
    probabilities, _ = backend(clips)
    np.testing.assert_allclose(probabilities, softmax(logits / temperature, axis=1), atol=1e-5)
    assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()
    card = path.with_suffix(".md").read_text()
    assert f"divided by a temperature of {temperature:.3f}, which changes the log loss" in card
    if value == "null":
        assert abs(np.log(temperature)) > 0.01 and facts["log_loss"] < before["log_loss"]
    else:
        assert temperature == 2.5


def test_answers_stay_as_trained_where_too_few_are_wrong(spotter, split, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    facts = released(spotter, split, path).info.training
    assert facts["temperature"] == 1
    assert facts["before_temperature"]["log_loss"] == facts["log_loss"]
    assert "temperature" not in path.with_suffix(".md").read_text()


def test_a_model_for_streams_takes_no_temperature(split, tmp_path) -> None:
    with pytest.raises(KwsError, match="temperature.value=2 is for models of clips"):
        released(streaming_spotter(), split, tmp_path / "model.onnx", "temperature.value=2")
    assert not list(tmp_path.iterdir())
