"""Size of a model: parameters and multiply-adds."""

import torch
from torch import Tensor, nn

from speech_commands_kws.models.spotter_module import SpotterModule


def complexity(spotter: SpotterModule, clip_samples: int) -> dict[str, int]:
    """Parameters, multiply-adds of the backbone and of the front-end for one clip.

    Multiply-adds are those of convolutions, linear layers and matrix products; adding, normalising and activation are
    left out.
    """
    waveform = torch.zeros(1, clip_samples)
    training = spotter.training
    spotter.eval()
    with torch.no_grad():
        features = spotter.frontend(waveform)
        counts = {
            "parameters": sum(parameter.numel() for parameter in spotter.parameters()),
            "multiply_adds": layer_multiply_adds(spotter.backbone, features),
            "frontend_multiply_adds": spotter.frontend.multiply_adds(features.shape[-1]),
        }
    spotter.train(training)
    return counts


def layer_multiply_adds(module: nn.Module, features: Tensor) -> int:
    """Multiply-adds of the convolutions and linear layers of a module for one input."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        # Each output value takes one multiply-add per weight that leads to it.
        total += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    ]
    module(features)
    for hook in hooks:
        hook.remove()
    return total
