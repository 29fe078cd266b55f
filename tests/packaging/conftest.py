"""One spotter and its ONNX file, for all that is asked of such files; exporting takes seconds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tones import tone
from trained_looking import INFO, OPSET, trained_looking

from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import write_onnx
from speech_commands_kws.packaging.parity import probe_waveforms


@pytest.fixture(scope="session")
def spotter() -> SpotterModule:
    torch.manual_seed(0)
    return trained_looking(BCResNet(4, 40, 1, 5, 0.1, fast_training=False))


@pytest.fixture(scope="session")
def model(spotter: SpotterModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `spotter`, to be read only."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    write_onnx(spotter, INFO, OPSET, path)
    return path


@pytest.fixture(scope="session")
def waveforms() -> dict[str, np.ndarray]:
    """Clips of each kind that files are compared by."""
    clips = np.stack([tone(word, i) for i, word in enumerate(["yes", "no", "bird", "tree"])])
    return probe_waveforms(clips, seed=0)
