"""Threads that share the work of compiled loops, while torch keeps to one of its own."""

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

    def __enter__(self) -> None:
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.size)

    def share(self, work: Callable[..., Any], count: int, *arguments: Any) -> None:
        """Call `work(first, last, *arguments)`, which must leave the interpreter's lock, for parts of 0 to `count`."""
        threads = min(self.size, count)
        bounds = [count * i // threads for i in range(threads + 1)]
        others = [
            _pool(threads).submit(work, bounds[i], bounds[i + 1], *arguments)
            for i in range(1, threads)
        ]
        work(bounds[0], bounds[1], *arguments)
        for other in others:
            other.result()

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """left @ right, of a wide matrix on the right."""
        made = right.new_empty(len(left), right.shape[1])
        self.share(_product, right.shape[1], left, right, made)
        return made


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="thread_team")


def _product(first: int, last: int, left: Tensor, right: Tensor, made: Tensor) -> None:
    torch.mm(left, right[:, first:last], out=made[:, first:last])
