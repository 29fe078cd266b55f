import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech_commands_kws.models.bc_resnet import BCResNet

KEYWORDS = 12
SUB_BANDS = 5


def random_model(width: float, n_mels: int, dropout: float, dtype: torch.dtype) -> BCResNet:
    """A model whose norms are not at their initial values."""
    model = BCResNet(KEYWORDS, n_mels, width, SUB_BANDS, dropout, fast_training=False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return model.to(dtype)


def step(model: BCResNet, log_mel: Tensor, targets: Tensor) -> tuple[Tensor, list, list]:
    """Logits, gradients of all parameters and buffers after a training step's two passes."""
    torch.manual_seed(1)  # one dropout mask in both forms
    logits = model(log_mel)
    functional.cross_entropy(logits, targets).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return logits.detach(), gradients, list(model.buffers())


def relative_error(expected: Tensor, got: Tensor) -> float:
    return float((expected - got).abs().max() / (expected.abs().max() + 1e-30))


def errors_of_fast_form(model: BCResNet, log_mel: Tensor) -> tuple[float, float, float]:
    """Largest relative errors of logits, gradients and running statistics against the plain form."""
    targets = torch.arange(len(log_mel)) % KEYWORDS
    targets = targets.to(log_mel.device)
    fast = copy.deepcopy(model)
    fast.fast_training = True
    expected, got = step(model, log_mel, targets), step(fast, log_mel, targets)
    assert all(buffer.dtype == other.dtype for buffer, other in zip(expected[2], got[2]))
    gradients = map(relative_error, expected[1], got[1])
    return (
        relative_error(expected[0], got[0]),
        max(gradients),
        max(relative_error(*(each.double() for each in pair)) for pair in zip(expected[2], got[2])),
    )


def log_mel_like(batch: int, n_mels: int, frames: int, dtype: torch.dtype) -> Tensor:
    """Far from zero mean, as logarithms of energies are."""
    return torch.randn(batch, 1, n_mels, frames, dtype=dtype) * 3 - 6


@pytest.mark.parametrize(
    "width, parameters",
    [(1, 9_232), (1.5, 17_154), (2, 27_284), (3, 54_168), (6, 187_812), (8, 321_068)],
)
def test_published_parameter_counts(width, parameters):
    model = BCResNet(KEYWORDS, 40, width, SUB_BANDS, 0.1, fast_training=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_mels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiple of 40"):
        BCResNet(KEYWORDS, 60, 1, SUB_BANDS, 0.1, fast_training=True)


@pytest.mark.parametrize(
    "width, batch, n_mels, frames, dropout",
    [
        (1, 7, 40, 31, 0.1),
        (1, 2, 40, 5, 0.5),  # fewer frames than the widest dilated convolution spans
        (1.5, 3, 80, 20, 0.0),
        (2, 1, 40, 33, 0.3),  # a batch of one
        (3, 4, 40, 12, 0.1),
    ],
)
def test_fast_training_is_the_plain_form(width, batch, n_mels, frames, dropout):
    torch.manual_seed(0)
    model = random_model(width, n_mels, dropout, torch.float64)
    errors = errors_of_fast_form(model, log_mel_like(batch, n_mels, frames, torch.float64))
    assert max(errors) < 1e-9


def test_many_steps_stay_together():
    """Running statistics that drift apart would show after some steps."""
    torch.manual_seed(0)
    plain = random_model(1, 40, 0.1, torch.float64)
    fast = copy.deepcopy(plain)
    fast.fast_training = True
    log_mel = log_mel_like(4, 40, 12, torch.float64)
    for model in (plain, fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            step(model, log_mel, torch.arange(4))
            optimizer.step()
    expected, got = plain.eval()(log_mel), fast.eval()(log_mel)
    assert relative_error(expected.detach(), got.detach()) < 1e-9


def test_single_precision_is_near():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.1, torch.float32)
    # Few activations: among millions some lie so near to zero that rounding alone switches their relu.
    logits, gradients, statistics = errors_of_fast_form(
        model, log_mel_like(3, 40, 25, torch.float32)
    )
    assert logits < 1e-5
    assert gradients < 1e-3
    assert statistics < 1e-5


def test_large_common_offset_does_not_spoil_the_variance():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.0, torch.float32)
    log_mel = log_mel_like(4, 40, 25, torch.float32) / 10 - 12
    logits, _, statistics = errors_of_fast_form(model, log_mel)
    assert logits < 1e-4
    assert statistics < 1e-4


def test_dropout_acts_and_follows_the_seed():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.0, torch.float64)
    model.fast_training = True
    log_mel = log_mel_like(4, 40, 11, torch.float64)
    without = model(log_mel).detach()
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            setattr(module, "p", 0.5)
    with_dropout = model(log_mel).detach()
    assert relative_error(without, with_dropout) > 1e-2
    torch.manual_seed(3)
    again = model(log_mel)
    torch.manual_seed(3)
    assert torch.equal(model(log_mel), again)


def test_parameters_that_are_frozen_get_no_gradient():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.1, torch.float64)
    model.fast_training = True
    model.stem.requires_grad_(False)
    model(log_mel_like(3, 40, 9, torch.float64)).sum().backward()
    assert all(parameter.grad is None for parameter in model.stem.parameters())
    assert all(parameter.grad is not None for parameter in model.blocks.parameters())


def test_steps_do_not_disturb_each_other():
    """Two forward passes before the first backward pass: neither may work on the other's arrays."""
    torch.manual_seed(0)
    model = random_model(1, 40, 0.0, torch.float64)
    model.fast_training = True
    log_mels = [log_mel_like(3, 40, 9, torch.float64) for _ in range(2)]
    expected = []
    for log_mel in log_mels:
        model.zero_grad()
        model(log_mel).square().sum().backward()
        expected.append([parameter.grad.clone() for parameter in model.parameters()])
    logits = [model(log_mel) for log_mel in log_mels]
    for output, gradients in zip(logits, expected):
        model.zero_grad()
        output.square().sum().backward()
        got = [parameter.grad for parameter in model.parameters()]
        assert max(map(relative_error, gradients, got)) < 1e-12


def test_a_second_backward_pass_is_refused():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.0, torch.float64)
    model.fast_training = True
    loss = model(log_mel_like(2, 40, 9, torch.float64)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass"):
        loss.backward()


def test_evaluation_takes_the_plain_form():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.1, torch.float32).eval()
    log_mel = log_mel_like(2, 40, 20, torch.float32)
    expected = model(log_mel)
    model.fast_training = True
    assert torch.equal(model(log_mel), expected)


def test_bfloat16_autocast_keeps_the_statistics_in_single_precision():
    torch.manual_seed(0)
    model = random_model(1, 40, 0.0, torch.float32)
    model.fast_training = True
    log_mel = log_mel_like(4, 40, 20, torch.float32)
    expected = copy.deepcopy(model)(log_mel)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(log_mel), expected)
