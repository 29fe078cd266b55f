"""Starts the processes beside the first one of a training in several processes, answers for them and ends them.

A further process (`train_rank`) is given the folder and the configuration that the first one has settled. What it has
to say (that it is ready, or why it failed) it leaves in a folder of notes, and its standard input stays open as long as
the first process lives: when that ends, in whatever way, the further ones end themselves.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import TracebackType
from typing import Any

import torch

from speech_commands_kws.errors import KwsError

NOTES_VARIABLE = "KWS_RANK_NOTES"  # folder of notes, in the environment of further processes
RANK_VARIABLE = "LOCAL_RANK"
THREADS_VARIABLE = "OMP_NUM_THREADS"
RANK_MODULE = "speech_commands_kws.assembly.train_rank"
TASK_FILE = "task.json"
FAILURES = "failure_*"
# Lightning sets them in the first process; a later training of that process must find an address of its own.
ADDRESS_VARIABLES = ("MASTER_ADDR", "MASTER_PORT")
LOOK_SECONDS = 0.1
LOSS_SECONDS = 3.0  # between the loss of a connection and the end of the process that caused it
GRACE_SECONDS = 20.0  # for the first process to notice by itself that another one has failed
END_SECONDS = 30.0  # for the further processes to end after a training


class FurtherProcesses:
    """The processes beside this one, from their start to their end.

    Args:
        task: plain data; its `folder` gets the log of each process.
        world_size: processes, this one included.
        address: the environment variables by which the processes find each other.

    Raises:
        KwsError: one of them failed; it takes the place of the lost connection that this process noticed.
    """

    def __init__(self, task: Mapping[str, Any], world_size: int, address: Mapping[str, str]):
        self.task, self.world_size, self.address = task, world_size, address
        self.processes: dict[int, subprocess.Popen] = {}
        self.over = Event()

    def __enter__(self) -> None:
        with ExitStack() as undo:
            undo.callback(
                restore_environment, {name: os.environ.get(name) for name in ADDRESS_VARIABLES}
            )
            undo.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads_each(self.world_size))
            self.notes = Path(undo.enter_context(TemporaryDirectory(prefix="kws-ranks-")))
            (self.notes / TASK_FILE).write_text(json.dumps(self.task), "utf-8")
            undo.callback(leave_group)
            undo.callback(self._end)
            for rank in range(1, self.world_size):
                self.processes[rank] = self._start(rank)
            self._wait_until_ready()
            Thread(target=self._watch, daemon=True, name="watches-ranks").start()
            self.undo = undo.pop_all()

    def _start(self, rank: int) -> subprocess.Popen:
        own = {
            RANK_VARIABLE: str(rank),
            NOTES_VARIABLE: str(self.notes),
            THREADS_VARIABLE: str(torch.get_num_threads()),
        }
        with (Path(self.task["folder"]) / log_name(rank)).open("a") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", RANK_MODULE],
                env={**os.environ, **self.address, **own},
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                process_group=0,  # Ctrl-C reaches the first process only, which ends the others
            )

    def _wait_until_ready(self) -> None:
        """In Python, since a wait for a lost process inside torch cannot be broken off."""
        notes = [ready_note(self.notes, rank) for rank in self.processes]
        while not all(note.exists() for note in notes):
            if failure := self._failure():
                raise failure
            time.sleep(LOOK_SECONDS)

    def _failure(self) -> KwsError | None:
        """Why the first of the processes that failed did so; what followed is that the others lost it."""
        ended = {rank: process.poll() for rank, process in self.processes.items()}
        told = sorted(self.notes.glob(FAILURES), key=lambda note: note.stat().st_mtime_ns)
        for rank, status in ended.items():
            if status and (status < 0 or not told):
                how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
                return KwsError(
                    f"the process of rank {rank} {how} (is the memory enough?): see {log_name(rank)} in the run's "
                    f"folder, and go on with resume=true"
                )
        return KwsError(told[0].read_text("utf-8")) if told else None

    def _watch(self) -> None:
        """End this process where it does not notice that another is gone: between GPUs it may wait for ever."""
        while not self.over.wait(LOOK_SECONDS):
            failure = self._failure()
            if failure and not self.over.wait(GRACE_SECONDS):
                print(f"error: {failure}", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        with self.undo:
            if kind is None:
                self._let_end()
            elif issubclass(kind, RuntimeError) and (failure := self._cause()):
                raise failure from None

    def _let_end(self) -> None:
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and None in map(subprocess.Popen.poll, self._all()):
            time.sleep(LOOK_SECONDS)

    def _cause(self) -> KwsError | None:
        """The failure of another process behind a lost connection, if that is what this process met."""
        deadline = time.monotonic() + LOSS_SECONDS
        while not (failure := self._failure()) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return failure

    def _end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
            process.stdin.close()

    def _all(self) -> list[subprocess.Popen]:
        return list(self.processes.values())


def leave_group() -> None:
    """A later training of this process begins a group of its own."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def restore_environment(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def threads_each(world_size: int) -> int:
    """Threads of torch in each process: its share of them, unless the user has set their number."""
    threads = torch.get_num_threads()
    return threads if THREADS_VARIABLE in os.environ else max(1, threads // world_size)


def notes_folder() -> Path | None:
    """Where this process, a further one, leaves its notes; None in the first process."""
    folder = os.environ.get(NOTES_VARIABLE)
    return Path(folder) if folder else None


def is_first_process() -> bool:
    """Whether this process writes the record of a training: the only one, or that of rank 0."""
    return notes_folder() is None


def own_rank() -> int:
    return 0 if is_first_process() else int(os.environ[RANK_VARIABLE])


def ready_note(notes: Path, rank: int) -> Path:
    return notes / f"ready_{rank}"


def log_name(rank: int) -> str:
    return f"log_rank{rank}.txt"


def say_ready() -> None:
    """Tell the first process that this one has loaded all it needs."""
    ready_note(notes_folder(), own_rank()).touch()


class FailureNoted:
    """Tells the first process why this one failed."""

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            return
        message, rank = (str(error).splitlines() or [""])[0], own_rank()
        if not issubclass(kind, KwsError):
            message = (
                f"the process of rank {rank} failed with {kind.__name__}: {message}; see {log_name(rank)} in the run's "
                f"folder"
            )
        # Renamed, so that a note is there as a whole.
        part = notes_folder() / f"part_{rank}"
        part.write_text(message, "utf-8")
        part.rename(notes_folder() / FAILURES.replace("*", str(rank)))


def task() -> dict[str, Any]:
    """What the first process has settled for this one."""
    return json.loads((notes_folder() / TASK_FILE).read_text("utf-8"))


def end_with_the_first_process() -> None:
    """Wait for the end of standard input, then end this process at once."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
