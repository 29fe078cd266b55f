"""What the servers of live sound have in common: a port, a model that all streams share, and sound in pieces that are
worth a thread."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.inference.backends.triton_requests import HIGHEST_PORT
from speech_commands_kws.inference.detector import MS_PER_SECOND
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.streaming import StreamingModel

# Shorter chunks wait for more, because a thread is asked for each piece; longer ones are cut, for others' sake.
SHORTEST_MS, LONGEST_MS = 20, 1000
WAITING_CONNECTIONS = 128  # that have not been taken
ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class LiveServer:
    """Listens to many clients with one model; each is scored in threads, so that none waits for another's sound.

    Attributes:
        host, port: where it can be reached; port 0 becomes a free one.
        most_connections: one more is refused.
        message_bytes: most that a message may have.
        waiting_bytes: sound of a connection that the system keeps while earlier sound is scored. A client that sends
            more has to wait.
        idle_seconds: without a message, until a connection is closed.
        thresholds, call_ms: as of `KeywordListener`.
    """

    mode: ClassVar[str]  # of `kws serve`, and the name of the settings
    scheme: ClassVar[str]  # of its address

    host: str
    port: int
    most_connections: int
    message_bytes: int
    waiting_bytes: int
    idle_seconds: float
    thresholds: float | Mapping[str, float] | None
    call_ms: float
    connections: set[Any] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        check_whole(0, HIGHEST_PORT, port=self.port)
        check_whole(most_connections=self.most_connections, message_bytes=self.message_bytes)
        check_whole(waiting_bytes=self.waiting_bytes)
        check_positive(idle_seconds=self.idle_seconds)

    def run(self, model: Path, say: Callable[[str], None]) -> None:
        """Listen until Ctrl-C or SIGTERM.

        Raises:
            KwsError: the model does not listen to streams, a setting is not for it, or the port is taken.
        """
        asyncio.run(self._run(model, say))

    async def _run(self, model: Path, say: Callable[[str], None]) -> None:
        await self.open(model)
        try:
            host = f"[{self.host}]" if ":" in self.host else self.host
            ended = asyncio.Event()
            for number in ENDED_BY:
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
            say(f"listening at {self.scheme}://{host}:{self.port}; Ctrl-C ends")
            await ended.wait()
            say("stopping")
        finally:
            await self.close()

    async def open(self, model: Path) -> None:
        """Take connections from now on."""
        self.model = StreamingModel(model)
        self.listener(None)  # a wrong setting is met here, and not by a client
        await self._take_connections(self._door())

    async def close(self) -> None:
        """End all connections."""
        raise NotImplementedError

    async def _take_connections(self, door: socket.socket) -> None:
        raise NotImplementedError

    def _door(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            door = socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise KwsError(
                f"port {self.port} of {self.host} cannot be had ({error}): choose another with {self.mode}.port="
            ) from None
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.waiting_bytes)
        self.port = door.getsockname()[1]
        return door

    def listener(self, sample_rate: int | None) -> KeywordListener:
        """Of one stream."""
        return KeywordListener(self.model, sample_rate, self.thresholds, self.call_ms)


class BadInputError(KwsError):
    """What a client sent cannot be heard; the message says what was expected and what came."""


class Pieces:
    """Called with the chunks (T,) of one stream, of any length, it gives the pieces that are due by then.

    Args:
        sample_rate: of the chunks (Hz).
    """

    def __init__(self, sample_rate: int) -> None:
        self.shortest, self.longest = (
            ceil(sample_rate * length / MS_PER_SECOND) for length in (SHORTEST_MS, LONGEST_MS)
        )
        self.waiting: list[np.ndarray] = []

    def __call__(self, chunk: np.ndarray) -> list[np.ndarray]:
        self.waiting.append(chunk)
        return self.rest() if sum(map(len, self.waiting)) >= self.shortest else []

    def rest(self) -> list[np.ndarray]:
        """What waits for more, at the end of the stream."""
        if not self.waiting:
            return []
        sound = np.concatenate(self.waiting)
        self.waiting = []
        return [sound[start : start + self.longest] for start in range(0, len(sound), self.longest)]
