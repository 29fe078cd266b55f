import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from speech_commands_kws.errors import KwsError
from speech_commands_kws.training import further_processes
from speech_commands_kws.training.further_processes import (
    FailureNoted,
    FurtherProcesses,
    threads_each,
)

PATIENCE_SECONDS = 60
ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.fixture
def further(tmp_path, monkeypatch):
    """Processes that run a line of Python in place of a training; quick, since nothing is loaded."""

    def make(program: str, world_size: int = 2) -> FurtherProcesses:
        (tmp_path / "stand_in.py").write_text(program)
        monkeypatch.setenv(
            "PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        )
        monkeypatch.setattr(further_processes, "RANK_MODULE", "stand_in")
        return FurtherProcesses({"folder": str(tmp_path)}, world_size, ADDRESS)

    return make


# What `say_ready` does, without loading torch
TOUCH = (
    "import os, pathlib, sys, time\n"
    "notes = pathlib.Path(os.environ['KWS_RANK_NOTES'])\n"
    "rank = os.environ['LOCAL_RANK']\n"
    "(notes / f'ready_{rank}').touch()\n"
)


def is_running(process: subprocess.Popen) -> bool:
    return process.poll() is None


def test_a_further_process_is_told_who_it_is_and_what_to_do(further, tmp_path):
    program = TOUCH + (
        "print(rank, os.environ['MASTER_PORT'], (notes / 'task.json').read_text())\n"
        "print('problem', file=sys.stderr)\n"
    )
    with further(program, world_size=3):
        pass
    for rank in (1, 2):
        log = (tmp_path / f"log_rank{rank}.txt").read_text()
        assert f'{rank} 1 {{"folder": "{tmp_path}"}}' in log
        assert "problem" in log


def test_one_that_fails_to_start_is_an_error_at_once(further):
    began = time.monotonic()
    processes = further("raise ImportError('no such thing')", world_size=3)
    with pytest.raises(KwsError, match="rank [12] ended with 1.*log_rank[12].txt"), processes:
        raise AssertionError("the training began")
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert not any(map(is_running, processes.processes.values()))


def test_the_failure_of_another_process_takes_the_place_of_the_lost_connection(further):
    program = TOUCH + "(notes / 'failure_1').write_text('the plug was pulled')\n"
    with pytest.raises(KwsError, match="^the plug was pulled$"), further(program):
        raise RuntimeError("Connection closed by peer")


def test_one_that_was_killed_is_named(further):
    processes = further(TOUCH + "time.sleep(600)")
    with pytest.raises(KwsError, match="rank 1 was killed by signal 9.*resume=true"), processes:
        processes.processes[1].kill()
        raise RuntimeError("Connection closed by peer")


def test_an_error_of_the_first_process_stays_and_ends_the_others(further, monkeypatch):
    monkeypatch.setattr(further_processes, "LOSS_SECONDS", 0.1)
    for error in (KwsError("diverged"), RuntimeError("broken"), KeyboardInterrupt("Ctrl-C")):
        processes = further(TOUCH + "time.sleep(600)")
        with pytest.raises(type(error), match=str(error)), processes:
            raise error
        assert processes.processes[1].returncode == -signal.SIGKILL


def test_what_was_set_for_a_training_is_undone(further, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "77")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = torch.get_num_threads()
    processes = further(TOUCH)
    with processes:
        os.environ |= {"MASTER_ADDR": "here", "MASTER_PORT": "99"}
        assert torch.get_num_threads() == threads_each(2) or threads == 1
    assert torch.get_num_threads() == threads
    assert os.environ["MASTER_PORT"] == "77" and "MASTER_ADDR" not in os.environ
    assert not processes.notes.exists()


def test_threads_are_shared_unless_the_user_has_set_them(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_each(n_processes) for n_processes in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads_each(2) == 8


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (KwsError("lower optimizer.lr"), "lower optimizer.lr"),
        (
            ValueError("one\ntwo"),
            "the process of rank 1 failed with ValueError: one; see log_rank1.txt in the run's folder",
        ),
    ],
)
def test_a_further_process_notes_why_it_failed(tmp_path, monkeypatch, error, note):
    monkeypatch.setenv("KWS_RANK_NOTES", str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(type(error)), FailureNoted():
        raise error
    assert [path.read_text() for path in tmp_path.iterdir()] == [note]


def test_nothing_is_noted_of_success(tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_RANK_NOTES", str(tmp_path))
    with FailureNoted():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_further_process_ends_with_the_first():
    program = "from speech_commands_kws.training.further_processes import end_with_the_first_process as end; end()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.stdin.close()
    assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL


def test_a_loss_that_the_first_process_does_not_notice_ends_it(tmp_path):
    """As between GPUs, where a collective may wait for ever."""
    (tmp_path / "stand_in.py").write_text(TOUCH + "sys.exit(3)")
    program = (
        "import time; from speech_commands_kws.training import further_processes as them\n"
        "them.RANK_MODULE, them.GRACE_SECONDS = 'stand_in', 0.2\n"
        f"with them.FurtherProcesses({{'folder': {str(tmp_path)!r}}}, 2, {ADDRESS}):\n"
        "    time.sleep(600)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == -signal.SIGKILL
    assert "error: the process of rank 1 ended with 3" in done.stderr
