"""Threads that share the work of a training on a CPU, while torch keeps to one of its own.

Where several of torch's threads share an operation, the first waits for the others at its end. On a machine with other
work one of them is often not running, and a step of hundreds of operations takes many times as long. A team waits too,
but some tens of times a step.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor


class ThreadTeam:
    """As many threads as torch uses, for a pass of which torch itself computes its part in one.

    Between two operations torch's further threads wait busily, for milliseconds, on the very cores that the team needs.
    """

    def __init__(self) -> None:
        self.size = torch.get_num_threads()

    def __enter__(self) -> "ThreadTeam":
        torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.size)

    def share(self, work: Callable[..., Any], count: int, *arguments: Any) -> list[Any]:
        """What `work(first, last, *arguments)` returns for parts of 0 to `count`.

        The work must leave the interpreter's lock for most of its time.
        """
        threads = min(self.size, count)
        bounds = [count * i // threads for i in range(threads + 1)]
        others = [
            _pool(threads).submit(work, bounds[i], bounds[i + 1], *arguments)
            for i in range(1, threads)
        ]
        found = [work(bounds[0], bounds[1], *arguments)]
        return found + [other.result() for other in others]

    def over_clips(self, work: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        """`work(clips)`, each thread with a part of the clips, (B, ...), on a CPU."""
        if self.size == 1 or clips.is_cuda or torch.is_autocast_enabled(clips.device.type):
            return work(clips)
        with_grad, in_inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def work_on(first: int, last: int) -> Tensor:
            # A thread does not know of the modes of another.
            with torch.inference_mode(in_inference), torch.set_grad_enabled(with_grad):
                return work(clips[first:last])

        return torch.cat(self.share(work_on, len(clips)))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Each thread has its own number of torch's threads.
    return ThreadPoolExecutor(
        threads, "thread_team", initializer=torch.set_num_threads, initargs=(1,)
    )
