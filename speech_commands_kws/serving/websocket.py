"""A websocket server that listens: sound in, events out, one stream a connection.

The first message to a client says what is listened for. The client sends 16-bit samples in binary messages, and
`{"finish": true}` at the end of its sound. Each event is a message, with the fields of `kws listen format=json`.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from aiohttp import WSMsgType, web

from speech_commands_kws.audio.reading import HIGHEST_RATE, LOWEST_RATE, check_rate
from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.inference.events.writer import as_mapping
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.serving.live import WAITING_CONNECTIONS, BadInputError, LiveServer, Pieces

# Where pages of this machine come from.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Why a connection is closed (RFC 6455, section 7.4.1, and IANA's registry); 1009 is aiohttp's, for a long message.
FINISHED, SERVER_ENDS, BAD_INPUT, IDLE, MODEL_FAILED, TOO_MANY = 1000, 1001, 1007, 1008, 1011, 1013
REASON_BYTES = 123  # most that a reason may have
SAMPLE_RATE = "sample_rate"  # in the address
FINISH = {"finish": True}
SAMPLE = np.dtype("<i2")
CLOSE_SECONDS = 2.0  # for a client to answer that it closes too


@dataclass
class WebsocketServer(LiveServer):
    """A `LiveServer` for browsers too.

    Attributes:
        origins: web pages of these may connect too, such as https://example.org; else only those of this machine.
    """

    mode = "websocket"
    scheme = "ws"

    origins: Sequence[str]

    async def _take_connections(self, door: socket.socket) -> None:
        application = web.Application()
        application.router.add_get("/", self._answer)
        application.router.add_get("/health", self._health)
        application.on_shutdown.append(self._dismiss)
        self.runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self.runner.setup()
        await web.SockSite(self.runner, door, backlog=WAITING_CONNECTIONS).start()

    async def close(self) -> None:
        """Say to each client that the server ends."""
        await self.runner.cleanup()

    def is_allowed(self, origin: str) -> bool:
        """Whether a page of this origin may connect; programs that are no browsers say none."""
        try:
            return origin in self.origins or urlsplit(origin).hostname in LOOPBACK
        except ValueError:
            return False

    async def _dismiss(self, _: Any) -> None:
        ends = "the server ends".encode()
        closing = [each.close(code=SERVER_ENDS, message=ends) for each in self.connections]
        await asyncio.gather(*closing)

    async def _health(self, _: web.Request) -> web.Response:
        """For whoever restarts a server that fails: it scores some silence."""
        listener = self.listener(None)
        try:
            await asyncio.to_thread(listener, np.zeros(listener.call_samples, SAMPLE))
        except KwsError as error:
            reason = f"{summarize_error(error)}\n"
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=reason)
        return web.json_response({"connections": len(self.connections)})

    async def _answer(self, request: Any) -> Any:
        origin = request.headers.get("Origin")
        if origin is not None and not self.is_allowed(origin):
            reason = f"pages of {origin} may not connect: websocket.origins= allows others\n"
            return web.Response(status=HTTPStatus.FORBIDDEN, text=reason)
        connection = web.WebSocketResponse(
            timeout=CLOSE_SECONDS,
            receive_timeout=self.idle_seconds,
            max_msg_size=self.message_bytes + 1,  # aiohttp refuses what reaches it
            compress=False,
        )
        await connection.prepare(request)
        code, reason = await self._listen(connection, request.query)
        # Cut in whole characters.
        message = reason.encode()[:REASON_BYTES].decode(errors="ignore").encode()
        await connection.close(code=code, message=message)
        return connection

    async def _listen(self, connection: Any, query: Mapping[str, str]) -> tuple[int, str]:
        """Serve a client; returns why it is over."""
        if len(self.connections) >= self.most_connections:
            return TOO_MANY, f"{len(self.connections)} connections are open, the most: try later"
        self.connections.add(connection)
        try:
            listener = self.listener(rate_of(query))
            await connection.send_json(self._greeting(listener))
            async with aclosing(
                listener.listen(sound_of(connection, listener.sample_rate))
            ) as events:
                async for event in events:
                    # Nobody hears what is left where the client has closed.
                    if not connection.closed:
                        await connection.send_json(as_mapping(event))
        except BadInputError as error:
            return BAD_INPUT, str(error)
        except KwsError as error:
            return MODEL_FAILED, summarize_error(error)
        except TimeoutError:
            return IDLE, f"nothing came for {self.idle_seconds:g} s"
        except ConnectionError:
            return FINISHED, "the client has gone"
        finally:
            self.connections.discard(connection)
        return FINISHED, "finished"

    def _greeting(self, listener: KeywordListener) -> dict[str, Any]:
        return {
            "labels": list(listener.labels),
            "thresholds": listener.detector.thresholds,
            "sample_rate": listener.sample_rate,
            "hop_ms": self.model.frame_ms,
            "message_bytes": self.message_bytes,
        }


def rate_of(query: Mapping[str, str]) -> int | None:
    """The sample rate in a client's address (Hz); None: the model's."""
    others = sorted(set(query) - {SAMPLE_RATE})
    if others:
        raise BadInputError(f"expected only {SAMPLE_RATE}= in the address, got {others[0]}=")
    if SAMPLE_RATE not in query:
        return None
    try:
        rate = int(query[SAMPLE_RATE])
        check_rate(rate, SAMPLE_RATE)
    except (KwsError, ValueError):
        raise BadInputError(
            f"expected {SAMPLE_RATE}= of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {query[SAMPLE_RATE]}"
        ) from None
    return rate


async def sound_of(connection: Any, sample_rate: int) -> AsyncIterator[np.ndarray]:
    """What a client sends until it finishes or closes: int16 (T,), in pieces of a fitting length."""
    pieces = Pieces(sample_rate)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            check_finish(message.data)
            break
        if message.type is not WSMsgType.BINARY:  # it was too long, and aiohttp has closed
            return
        if len(message.data) % SAMPLE.itemsize:
            raise BadInputError(f"expected 16-bit samples, got {len(message.data)} bytes")
        for piece in pieces(np.frombuffer(message.data, SAMPLE)):
            yield piece
    for piece in pieces.rest():
        yield piece


def check_finish(text: str) -> None:
    try:
        is_finish = json.loads(text) == FINISH
    except (ValueError, RecursionError):
        is_finish = False
    if not is_finish:
        raise BadInputError(f"expected samples or {json.dumps(FINISH)}, got {text!r}")
