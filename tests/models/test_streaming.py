import pytest
import torch
from torch import Tensor

from speech_commands_kws.models.streaming import StreamingBCResNet

KEYWORDS = 4
MEAN_FRAMES = 17


def network(fast_training: bool = False, kernel: int = 3) -> StreamingBCResNet:
    torch.manual_seed(0)
    sizes = [2, 2, 4, 4], [1, 2, 4, 8], kernel, MEAN_FRAMES
    return StreamingBCResNet(KEYWORDS, 40, 1, 5, 0.1, *sizes, fast_training)


def log_mel_like(batch: int, frames: int) -> Tensor:
    return torch.randn(batch, 1, 40, frames, generator=torch.Generator().manual_seed(1)) * 3 - 6


def test_no_answer_depends_on_frames_that_come_after_it() -> None:
    spotter, log_mel = network().eval(), log_mel_like(1, 60)
    changed = log_mel.clone()
    changed[..., 40:] += 1
    with torch.no_grad():
        before, after = spotter.stream(log_mel), spotter.stream(changed)
    assert torch.equal(before[..., :40], after[..., :40])
    assert (before[..., 40] != after[..., 40]).all()


def test_the_answer_of_a_stream_is_the_mean_of_the_last_answers() -> None:
    spotter, log_mel = network().eval(), log_mel_like(2, 50)
    with torch.no_grad():
        frames, streamed = spotter.frame_logits(log_mel), spotter.stream(log_mel)
        assert spotter(log_mel).allclose(frames.mean(2))
    assert streamed[..., 30].allclose(frames[..., 14:31].mean(2), atol=1e-6)
    assert streamed[..., 3].allclose(frames[..., :4].sum(2) / MEAN_FRAMES, atol=1e-6)


def test_the_compiled_form_trains_the_same() -> None:
    plain, fast = network(), network(fast_training=True)
    results = []
    for form in (plain, fast):
        torch.manual_seed(1)  # one dropout mask in both
        logits = form.stream(log_mel_like(6, 40))
        logits[:, 0].square().mean().backward()
        results.append(logits.detach())
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=1e-4)
    largest = max(parameter.grad.abs().max() for parameter in plain.parameters())
    for (name, parameter), other in zip(plain.named_parameters(), fast.parameters()):
        assert (parameter.grad - other.grad).abs().max() < 1e-4 * largest, name
    for buffer, other in zip(plain.buffers(), fast.buffers()):
        torch.testing.assert_close(other, buffer, atol=1e-5, rtol=1e-4)


def test_the_compiled_form_leaves_the_weights_usable_for_a_second_step() -> None:
    plain, fast = network(), network(fast_training=True)
    for form in (plain, fast):
        optimizer = torch.optim.SGD(form.parameters(), lr=0.1)
        for step in range(2):
            torch.manual_seed(step)
            optimizer.zero_grad()
            form(log_mel_like(6, 40)).square().mean().backward()
            optimizer.step()
    for parameter, other in zip(plain.parameters(), fast.parameters()):
        torch.testing.assert_close(other, parameter, atol=1e-4, rtol=1e-3)


def test_the_compiled_form_holds_no_more_memory_with_every_step() -> None:
    form = network(fast_training=True)
    held = []
    for _ in range(4):
        form(log_mel_like(6, 40)).square().mean().backward()
        held.append(sum(map(len, form.workspace.free.values())))
    assert held[1:] == held[:1] * 3


def test_compiled_loops_are_for_their_own_kernel() -> None:
    with pytest.raises(ValueError, match="kernel of 3, got 5"):
        network(fast_training=True, kernel=5)
