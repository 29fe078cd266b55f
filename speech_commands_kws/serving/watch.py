"""Keeps a server answering: asks it for an inference, starts it again where none comes, loads what has changed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging.triton import CONFIG_FILE, LABELS_FILE, versions_of
from speech_commands_kws.serving.probe import fault

START_POLL_SECONDS = 0.2


class Server(Protocol):
    """What is watched; see `TritonServer`."""

    http_url: str

    def start(self, repository: Path, names: Sequence[str]) -> None: ...
    def has_ended(self) -> bool: ...
    def reload(self, name: str) -> str | None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def last_words(self) -> str: ...


@dataclass
class Watch:
    """Watches one server.

    Attributes:
        every_seconds: between two looks.
        timeout_seconds: for the answer to one.
        faults: so many in a row and the server is started again; one that has ended is at once.
        restarts: so many in a row without an answer between them and it is given up.
        start_seconds: how long it may take to answer for the first time.
        restarted: how often it was started again.
    """

    every_seconds: float
    timeout_seconds: float
    faults: int
    restarts: int
    start_seconds: float
    restarted: int = field(default=0, init=False)

    def run(
        self,
        server: Server,
        repository: Path,
        names: Sequence[str],
        say: Callable[[str], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the server and watch it until a KeyboardInterrupt; it has ended when this returns.

        Raises:
            KwsError: it does not start, or does not stay up.
        """
        try:
            self.begin(server, repository, names, wait)
            say(f"serving {', '.join(names)} at http://{server.http_url}; Ctrl-C ends")
            self._go_on(server, repository, names, say, wait)
        except KeyboardInterrupt:
            say("stopping")
        finally:
            server.stop()

    def begin(
        self,
        server: Server,
        repository: Path,
        names: Sequence[str],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the server; returns when every model answers."""
        server.start(repository, names)
        for _ in range(round(self.start_seconds / START_POLL_SECONDS)):
            if server.has_ended():
                raise KwsError(f"the server did not start: {server.last_words()}")
            reason = self.fault(server, names)
            if reason is None:
                return
            wait(START_POLL_SECONDS)
        raise KwsError(f"the server gave no answer in {self.start_seconds:g} s: {reason}")

    def fault(self, server: Server, names: Sequence[str]) -> str | None:
        if server.has_ended():
            return "it has ended"
        found = (fault(server.http_url, name, self.timeout_seconds) for name in names)
        return next(filter(None, found), None)

    def _go_on(
        self,
        server: Server,
        repository: Path,
        names: Sequence[str],
        say: Callable[[str], None],
        wait: Callable[[float], None],
    ) -> None:
        faults = restarts = 0
        loaded = {name: state_of(repository / name) for name in names}
        seen = dict(loaded)
        while True:
            wait(self.every_seconds)
            reason = self.fault(server, names)
            if reason is None:
                faults = restarts = 0
                self._reload(server, repository, loaded, seen, say)
                continue
            faults += 1
            if faults < self.faults and not server.has_ended():
                continue
            if restarts == self.restarts:
                raise KwsError(
                    f"the server was started {restarts} times and gave no answer: {reason}"
                )
            say(f"no answer ({reason}): starting the server again")
            restarts += 1
            self.restarted += 1
            server.kill()
            self.begin(server, repository, names, wait)
            loaded.update({name: state_of(repository / name) for name in names})
            faults = 0
            say("the server answers again")

    def _reload(
        self,
        server: Server,
        repository: Path,
        loaded: dict[str, tuple],
        seen: dict[str, tuple],
        say: Callable[[str], None],
    ) -> None:
        """Load the models that have changed and then stayed the same for two looks: what is being written waits."""
        for name in loaded:
            state = state_of(repository / name)
            if state != loaded[name] and state == seen[name]:
                reason = server.reload(name)
                say(f"{name}: {'loaded what has changed' if reason is None else reason}")
                loaded[name] = state
            seen[name] = state


def state_of(model: Path) -> tuple:
    """What changes when a model of a repository does."""
    files = [model / CONFIG_FILE, model / LABELS_FILE]
    files += [file for version in versions_of(model) for file in (model / str(version)).iterdir()]
    return tuple((str(file), *_stamp(file)) for file in sorted(files))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return stat.st_mtime_ns, stat.st_size
