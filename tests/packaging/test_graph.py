import pytest
import torch
from trained_looking import SAMPLE_RATE, trained_looking

from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.packaging.graph import affine_maps, balance, inference_graph


@torch.inference_mode()
@pytest.mark.parametrize(("width", "n_mels", "sub_bands"), [(1, 40, 5), (2, 80, 5), (1, 64, 4)])
def test_the_folded_network_answers_the_same(width: int, n_mels: int, sub_bands: int) -> None:
    spotter = trained_looking(BCResNet(4, n_mels, width, sub_bands, 0.1, False), n_mels)
    noise = torch.randn(3, SAMPLE_RATE, generator=torch.Generator().manual_seed(1))
    waveform = noise * torch.tensor([[0.1], [0.01], [0.0]])
    expected, folded = spotter(waveform), inference_graph(spotter)
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(folded(waveform), expected, atol=1e-4, rtol=1e-5)
    norms = [layer for layer in folded.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert norms == []


@torch.inference_mode()
def test_channels_that_were_a_thousand_times_as_loud_are_balanced() -> None:
    spotter = trained_looking(BCResNet(4, 40, 1, 5, 0.1, False), 40)
    network = spotter.backbone
    for norm in (network.stem[1], network.blocks[0].expand_norm, network.head[2]):
        norm.weight[0] *= 1000
        norm.bias[0] *= 1000
    waveform = torch.randn(2, SAMPLE_RATE, generator=torch.Generator().manual_seed(1)) / 10
    folded, peaks = inference_graph(spotter), []
    for layer in (folded.backbone.stem, folded.backbone.blocks[0].expand, folded.backbone.hidden):
        layer.register_forward_hook(
            lambda _, __, answer: peaks.append(answer.abs().amax(dim=(0, *range(2, answer.dim()))))
        )
    torch.testing.assert_close(folded(waveform), spotter(waveform), atol=1e-4, rtol=1e-5)
    assert len(peaks) == 3
    for peak in peaks:
        assert peak[0] < 20 * peak.median()


def test_balancing_is_by_powers_of_two_and_leaves_silent_channels_alone() -> None:
    layer, following = torch.nn.Conv1d(1, 3, 1), torch.ones(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([5.0, 0.0, -0.11])[:, None, None])
        layer.bias.copy_(torch.tensor([2.0, 0.0, 0.0]))
        balance(layer, following)
    assert layer.weight.flatten().tolist() == pytest.approx([0.625, 0, -0.88])
    assert layer.bias.tolist() == [0.25, 0, 0]
    assert following.tolist() == [[8, 8], [1, 1], [0.125, 0.125]]


def test_another_network_stays_as_it_is() -> None:
    spotter = trained_looking(DSCNN(4, 40, 8, 1, [4, 10], [2, 2], 0.2))
    assert inference_graph(spotter) is spotter


def test_maps_are_those_of_the_layer() -> None:
    convolution = torch.nn.Conv2d(2, 2, (3, 1), stride=(2, 1), padding=(1, 0), groups=2)
    convolution.weight.data = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).reshape(2, 1, 3, 1)
    convolution.bias.data = torch.tensor([10.0, 20])
    with torch.no_grad():
        maps, offsets = affine_maps(convolution, channels=2, rows=4)
    assert maps[0].tolist() == [[2, 3, 0, 0], [0, 1, 2, 3]]
    assert maps[1].tolist() == [[5, 6, 0, 0], [0, 4, 5, 6]]
    assert offsets.tolist() == [[10, 10], [20, 20]]
