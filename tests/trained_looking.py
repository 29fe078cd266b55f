"""Spotters that look as if they were trained, and facts of their files."""

import torch

from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.spotter_module import SpotterModule

SAMPLE_RATE = 16000
OPSET = 18
LABELS = ("_silence_", "_unknown_", "yes", "no")
INFO = ModelInfo(LABELS, SAMPLE_RATE, SAMPLE_RATE, {"n_mels": 40}, {"run": "test"})


def trained_looking(
    backbone: torch.nn.Module, n_mels: int = 40, causal: bool = False
) -> SpotterModule:
    """A spotter whose normalisations are not those of initialisation."""
    generator = torch.Generator().manual_seed(0)
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 2, generator=generator)
            layer.bias.data.uniform_(-0.5, 1, generator=generator)
            layer.running_mean.uniform_(-0.5, 0.5, generator=generator)
            layer.running_var.uniform_(0.1, 0.5, generator=generator)
    frontend = LogMel(SAMPLE_RATE, 30, 10, 512, n_mels, 0, 8000, 1e-6, causal)
    return SpotterModule(frontend, backbone).eval()
