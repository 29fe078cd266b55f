import threading

import pytest
import torch

from speech_commands_kws.models.cpu_training.threads import ThreadTeam


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_part_is_worked_on_once(two_threads, count):
    parts, threads = [], set()
    together = threading.Barrier(min(count, 2), timeout=20)

    def work(first: int, last: int, name: str) -> None:
        together.wait()
        threads.add(threading.get_ident())
        parts.extend((name, i) for i in range(first, last))

    ThreadTeam().share(work, count, "a")
    assert sorted(parts) == [("a", i) for i in range(count)]
    assert len(threads) == min(count, 2)


def test_torch_keeps_to_one_thread_meanwhile(two_threads):
    team = ThreadTeam()
    with team:
        assert torch.get_num_threads() == 1 and team.size == 2
    assert torch.get_num_threads() == 2


def test_an_error_of_a_part_is_raised(two_threads):
    def work(first: int, last: int) -> None:
        if last == 2:
            raise ValueError("second half")

    with pytest.raises(ValueError, match="second half"):
        ThreadTeam().share(work, 2)
