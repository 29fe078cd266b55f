import threading

import pytest
import torch

from speech_commands_kws.models.thread_team import ThreadTeam


@pytest.fixture
def two_threads(set_threads):
    set_threads(2)


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


def test_clips_are_divided_in_the_modes_of_the_caller(two_threads):
    clips, modes = torch.arange(5.0)[:, None], []

    def work(part: torch.Tensor) -> torch.Tensor:
        modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), len(part)))
        return 2 * part

    with torch.no_grad(), ThreadTeam() as team:
        assert team.over_clips(work, clips).equal(2 * clips)
    with torch.inference_mode(), ThreadTeam() as team:
        assert team.over_clips(work, clips).is_inference()
    with torch.autocast("cpu", torch.bfloat16), ThreadTeam() as team:
        team.over_clips(work, clips)
    assert sorted(modes) == sorted(
        [(False, False, 2), (False, False, 3), (False, True, 2), (False, True, 3), (True, False, 5)]
    )
