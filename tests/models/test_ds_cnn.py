import pytest
import torch

from speech_commands_kws.models.ds_cnn import DSCNN


@pytest.mark.parametrize("channels, n_blocks", [(64, 4), (172, 4), (276, 5)])
def test_parameters_by_the_layers_of_the_paper(channels, n_blocks):
    model = DSCNN(12, 40, channels, n_blocks, [4, 10], [2, 2], 0.2)
    norm = 2 * channels
    block = 9 * channels + norm + channels * channels + norm
    expected = 40 * channels + norm + n_blocks * block + 12 * channels + 12
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_small_network_has_the_published_size():
    model = DSCNN(12, 40, 64, 4, [4, 10], [2, 2], 0.2)
    # The published network gives each of its nine convolutions a bias, which the norms behind them make idle.
    biases = 9 * 64
    assert (
        round((sum(parameter.numel() for parameter in model.parameters()) + biases) / 1000, 1)
        == 23.8
    )


@pytest.mark.parametrize("n_mels", [10, 40, 64])
def test_shape(n_mels):
    model = DSCNN(12, n_mels, 16, 2, [4, 10], [2, 2], 0.2)
    assert model(torch.randn(3, 1, n_mels, 101)).shape == (3, 12)


def test_too_few_mels_are_refused():
    with pytest.raises(ValueError, match="stem_kernel"):
        DSCNN(12, 3, 16, 2, [4, 10], [2, 2], 0.2)
