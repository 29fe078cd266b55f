"""Keeps a server running: probes it with an inference, restarts it on failure, reloads changed models."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.packaging.triton_repository import CONFIG_FILE, LABELS_FILE, versions_of
from speech_commands_kws.serving.health import fault
from speech_commands_kws.serving.server import TritonServer

START_POLL_SECONDS = 0.2
OVERLOADED = "503"  # what the fault of a server begins with that has more to do than it can


@dataclass
class Supervisor:
    """Keeps one server answering.

    Attributes:
        every_seconds: between two probes, which are inferences.
        timeout_seconds: for the answer to one.
        failures: so many among the last probes and the server is started again; one that has ended, or whose worker,
            the process of a backend, has died, is at once.
        probes: the number of these last probes. Instances answer in turn, so that of two, one of which is stuck, every
            second probe fails.
        pause_seconds: before a second restart in a row, without an answered probe between them; doubled for each
            further one.
        longest_pause_seconds: most of that.
        start_seconds: how long it may take to answer for the first time.
        restarted: how often it was started again.
    """

    every_seconds: float
    timeout_seconds: float
    failures: int
    probes: int
    pause_seconds: float
    longest_pause_seconds: float
    start_seconds: float
    restarted: int = field(default=0, init=False)
    answered: float = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_positive(every_seconds=self.every_seconds, timeout_seconds=self.timeout_seconds)
        check_positive(start_seconds=self.start_seconds, pause_seconds=self.pause_seconds)
        check_positive(longest_pause_seconds=self.longest_pause_seconds)
        check_whole(failures=self.failures, probes=self.probes)

    def run(
        self,
        server: TritonServer,
        repository: Path,
        names: Sequence[str],
        say: Callable[[str], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the server and keep it answering until a KeyboardInterrupt; it has ended when this returns.

        Raises:
            KwsError: it does not start; one that did is started again however often it ends.
        """
        try:
            self.begin(server, repository, names, wait)
            say(f"serving {', '.join(names)} at http://{server.http_url}; Ctrl-C ends")
            changes = Changes(repository, names)
            pause = 0.0
            recent: deque[bool] = deque(maxlen=self.probes)
            while True:
                wait(self.every_seconds)
                reason = self.fault(server, names)
                recent.append(reason is not None)
                if reason is None:
                    pause = 0.0
                    for name in changes.settled():
                        refused = server.reload(name)
                        say(f"{name}: {refused or 'loaded what has changed'}")
                    continue
                has_failed = server.has_ended() or server.worker_failed()
                if sum(recent) < self.failures and not has_failed:
                    continue
                say(
                    f"no response ({reason}): restarting the server"
                    + f" in {pause:g} s" * (pause > 0)
                )
                self.restarted += 1
                server.kill()
                wait(pause)
                pause = min(max(2 * pause, self.pause_seconds), self.longest_pause_seconds)
                changes = Changes(repository, names)
                recent.clear()
                try:
                    self.begin(server, repository, names, wait)
                except KwsError as error:
                    say(str(error))
                else:
                    say("the server is up again")
        except KeyboardInterrupt:
            say("stopping")
        finally:
            server.stop()

    def begin(
        self,
        server: TritonServer,
        repository: Path,
        names: Sequence[str],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the server; returns when every model answers."""
        server.start(repository, names)
        for _ in range(ceil(self.start_seconds / START_POLL_SECONDS)):
            if server.has_ended():
                raise KwsError(f"the server did not start: {server.log_tail()}")
            reason = self.fault(server, names)
            if reason is None:
                return
            wait(START_POLL_SECONDS)
        raise KwsError(f"the server did not respond within {self.start_seconds:g} s: {reason}")

    def fault(self, server: TritonServer, names: Sequence[str]) -> str | None:
        if server.has_ended():
            return "it has ended"
        if (
            server.worker_failed()
        ):  # others may ask so that every probe meets an instance that is well
            return "the process of a backend has ended or was stopped"
        # Not by the guard, which clients may keep busy.
        own = str(server.http_socket)
        found = (fault(own, name, self.timeout_seconds) for name in names)
        reason = next(filter(None, found), None)
        if reason is not None and reason.startswith(OVERLOADED):
            before, self.answered = self.answered, server.answered()
            return None if self.answered > before else reason  # it answers others
        return reason


class Changes:
    """Which models of a repository have changed since they were loaded."""

    def __init__(self, repository: Path, names: Sequence[str]) -> None:
        self.folders = {name: repository / name for name in names}
        self.loaded = {name: state_of(folder) for name, folder in self.folders.items()}
        self.seen = dict(self.loaded)

    def settled(self) -> Iterator[str]:
        """Those that have changed and then stayed the same for two calls: what is being written waits."""
        for name, folder in self.folders.items():
            before, self.seen[name] = self.seen[name], state_of(folder)
            if self.loaded[name] != self.seen[name] == before:
                self.loaded[name] = before
                yield name


def state_of(model: Path) -> tuple:
    """What changes when a model of a repository does; versions may come and go meanwhile."""
    files = [model / CONFIG_FILE, model / LABELS_FILE]
    files += [file for version in versions_of(model) for file in model.glob(f"{version}/*")]
    return tuple((str(file), *_stamp(file)) for file in sorted(files))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return stat.st_mtime_ns, stat.st_size
