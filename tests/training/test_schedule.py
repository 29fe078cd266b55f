import pytest
import torch

from speech_commands_kws.training.schedule import warmup_cosine


def rates(total_steps: int, warmup_fraction: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = warmup_cosine(optimizer, total_steps, warmup_fraction)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_up_in_a_line_then_down_a_cosine():
    seen = rates(100, 0.1)
    assert seen[:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    assert max(seen) == pytest.approx(0.1)
    assert seen[55] == pytest.approx(0.05)
    assert seen[10:] == sorted(seen[10:], reverse=True)
    assert seen[-1] < 1e-3


def test_a_training_of_one_step_has_a_learning_rate():
    assert rates(1, 0.1) == pytest.approx([0.1])
