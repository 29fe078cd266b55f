"""Effects one after another."""

from collections.abc import Mapping

from torch import Generator, Tensor, nn


class Chain(nn.Module):
    """Effects on waveforms in the order of their names here.

    Args:
        steps: (waveform, is_silence, generator) to waveform, by name; None leaves a step out.

    Shape: waveform (B, T), is_silence (B,) boolean to (B, T).
    """

    def __init__(self, steps: Mapping[str, nn.Module | None]):
        super().__init__()
        self.steps = nn.ModuleDict({name: step for name, step in steps.items() if step})

    def set_noise(self, noise: Tensor) -> None:
        for step in self.steps.values():
            if hasattr(step, "set_noise"):
                step.set_noise(noise)

    def forward(self, waveform: Tensor, is_silence: Tensor, generator: Generator) -> Tensor:
        for step in self.steps.values():
            waveform = step(waveform, is_silence, generator)
        return waveform
