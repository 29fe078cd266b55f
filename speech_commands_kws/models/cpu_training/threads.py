"""Threads that share the work of compiled loops, while torch keeps to one of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch


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


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Each thread has its own number of torch's threads.
    return ThreadPoolExecutor(
        threads, "thread_team", initializer=torch.set_num_threads, initargs=(1,)
    )
