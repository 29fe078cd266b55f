"""Effects one after another."""

import torch

from speech_commands_kws.augment.chain import Chain


class Add(torch.nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, waveform, is_silence, generator):
        return waveform + self.value


class Double(torch.nn.Module):
    noise = None

    def set_noise(self, noise: torch.Tensor) -> None:
        self.noise = noise

    def forward(self, waveform, is_silence, generator):
        return 2 * waveform


def test_steps_go_in_the_order_of_their_names_and_none_is_left_out() -> None:
    waveform, silence = torch.ones(2, 3), torch.zeros(2, dtype=torch.bool)
    first = Chain({"add": Add(1.0), "nothing": None, "twice": Double()})
    assert torch.equal(first(waveform, silence, torch.Generator()), torch.full((2, 3), 4.0))
    last = Chain({"twice": Double(), "add": Add(1.0)})
    assert torch.equal(last(waveform, silence, torch.Generator()), torch.full((2, 3), 3.0))


def test_noise_reaches_the_steps_that_take_it() -> None:
    chain, noise = Chain({"add": Add(1.0), "twice": Double()}), torch.ones(5)
    chain.set_noise(noise)
    assert chain.steps["twice"].noise is noise
