import torch
from torch import nn

from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.complexity import complexity, layer_multiply_adds
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.spotter_module import SpotterModule


def test_layers_by_hand():
    layers = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6 * 20, 7),
    )
    # 6 x 4 x 5 values of 9 weights each (one input channel a group), then a matrix product
    assert layer_multiply_adds(layers, torch.zeros(1, 2, 4, 5)) == 6 * 20 * 9 + 7 * 120


def test_bc_resnet_of_width_one():
    spotter = SpotterModule(
        LogMel(16000, 30, 10, 512, 40, 0, 8000, 1e-6), BCResNet(12, 40, 1, 5, 0.1, False)
    ).train()
    counts = complexity(spotter, 16000)
    assert counts["parameters"] == 9232
    # the convolutions of the published code at 40 x 101 come to 2.48 million
    assert round(counts["multiply_adds"] / 1e6, 2) == 2.48
    assert counts["frontend_multiply_adds"] == spotter.frontend.multiply_adds(101)
    assert spotter.training, "left as it was found"
