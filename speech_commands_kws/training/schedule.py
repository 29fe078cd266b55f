import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from speech_commands_kws.errors import check_number


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_fraction: float) -> LambdaLR:
    """Learning rate per step: from zero up in a straight line, then down to zero along half a cosine.

    Args:
        total_steps: optimizer steps of the whole training.
        warmup_fraction: share of the steps on the way up.
    """
    check_number(0, 1, warmup_fraction=warmup_fraction)
    warmup_steps = max(1, round(total_steps * warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
