"""The front-end, then the backbone."""

import torch
from torch import nn

from speech_commands_kws.models.spotter_module import SpotterModule


def test_logits_are_the_backbone_of_the_frontend() -> None:
    frontend = nn.Unflatten(1, (1, 2, 4))
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    module, waveform = SpotterModule(frontend, backbone), torch.randn(5, 8)
    assert torch.equal(module(waveform), backbone[1](waveform))
    assert set(module.state_dict()) == {"backbone.1.weight", "backbone.1.bias"}
