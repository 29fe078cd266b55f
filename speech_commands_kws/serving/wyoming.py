"""A wake-word service for Home Assistant and its satellites: the Wyoming protocol, by the package of that name.

A client asks what is listened for (`describe`), names the keywords that it waits for (`detect`), and sends sound
(`audio-start`, `audio-chunk`, `audio-stop`). It is told each of them that is heard (`detection`), or at the end that
none was (`not-detected`).
"""

import asyncio
import logging
import socket
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_read_event, async_write_event
from wyoming.info import Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from speech_commands_kws.audio.reading import check_rate, to_float
from speech_commands_kws.errors import (
    DISTRIBUTION,
    KwsError,
    check_texts,
    check_whole,
    display_name,
    summarize_error,
)
from speech_commands_kws.inference import detector
from speech_commands_kws.inference.detector import MS_PER_SECOND
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.labels import keywords_of
from speech_commands_kws.serving.live import BadInputError, LiveServer, Pieces

# Of a sample, by its bytes; those of 24 bits get a fourth.
SAMPLES = {1: np.dtype("u1"), 2: np.dtype("<i2"), 3: np.dtype("<i4"), 4: np.dtype("<i4")}
BYTES_OF_24_BITS = 3

LOG = logging.getLogger(__name__)


@dataclass
class WyomingServer(LiveServer):
    """A `LiveServer` for Home Assistant."""

    mode = "wyoming"
    scheme = "tcp"

    async def _take_connections(self, door: socket.socket) -> None:
        self.keywords = keywords_of(self.model.info.labels)
        self.info = info_of(self.model.info)
        self.server = await asyncio.start_server(self._answer, sock=door)

    async def close(self) -> None:
        self.server.close()
        for each in self.connections:
            each.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        client, task = Client(self, writer), asyncio.current_task()
        try:
            if len(self.connections) >= self.most_connections:
                raise KwsError(f"{len(self.connections)} connections are open, the most: try later")
            self.connections.add(task)
            bounded = BoundedReader(reader, self.message_bytes)
            while (event := await self._next(bounded)) is not None:
                await client.take(event)
        except KwsError as error:
            # Home Assistant shows it nowhere.
            LOG.warning("a client is sent away: %s", display_name(summarize_error(error)))
            with suppress(ConnectionError):
                await client.tell(Error(summarize_error(error)))
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has gone, or says nothing
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            self.connections.discard(task)
            writer.close()

    async def _next(self, reader: "BoundedReader") -> Event | None:
        """What the client sends; None where it has closed, or where that is no JSON."""
        try:
            async with asyncio.timeout(self.idle_seconds):
                event = await async_read_event(reader)
        except (AttributeError, KeyError, TypeError, RecursionError):
            raise BadInputError("expected the header of an event, got other JSON") from None
        if event is not None and not isinstance(event.data, dict):
            raise BadInputError(
                f"expected an object as the data of {event.type}, got {event.data!r}"
            )
        return event


class BoundedReader:
    """A stream of which nothing is read that is longer than `most_bytes`; the package would wait for it in memory."""

    def __init__(self, reader: StreamReader, most_bytes: int) -> None:
        self.reader, self.most_bytes = reader, most_bytes
        self.readline = reader.readline  # has a limit of its own

    async def readexactly(self, count: int) -> bytes:
        if count > self.most_bytes:
            raise BadInputError(f"expected {self.most_bytes} bytes at most, got {count}")
        return await self.reader.readexactly(count)


class Client:
    """A connection, and the stream that it sends.

    Attributes:
        names: of the keywords that it waits for.
        listener: of the stream; None: no sound of it has come yet.
    """

    def __init__(self, server: WyomingServer, writer: StreamWriter) -> None:
        self.server, self.writer = server, writer
        self.names = set(server.keywords)
        self._begin()

    def _begin(self) -> None:
        self.listener = None
        self.timestamp = None
        self.has_heard = False

    async def tell(self, message: Eventable) -> None:
        await async_write_event(message.event(), self.writer)

    async def take(self, event: Event) -> None:
        """Answer an event; one that is not for such a service is passed over, as the protocol has it.

        Raises:
            KwsError: it cannot be heard, or the model fails.
        """
        if Describe.is_type(event.type):
            await self.tell(self.server.info)
        elif Ping.is_type(event.type):
            await self.tell(Pong(Ping.from_event(event).text))
        elif Detect.is_type(event.type):
            self._wait_for(Detect.from_event(event).names)
        elif AudioStart.is_type(event.type):
            self._begin()
        elif AudioChunk.is_type(event.type):
            await self._hear(event)
        elif AudioStop.is_type(event.type):
            await self._end()

    def _wait_for(self, names: list[str] | None) -> None:
        if names:
            check_texts(names=names)
        keywords = self.server.keywords
        self.names = set(names or keywords)
        if unknown := self.names.difference(keywords):
            named = display_name(", ".join(sorted(unknown)))
            LOG.warning("a client waits for %s, this model knows %s", named, ", ".join(keywords))

    async def _hear(self, event: Event) -> None:
        rate, samples, self.timestamp = sound_of(event)
        if self.listener is None:
            self.listener, self.pieces = self.server.listener(rate), Pieces(rate)
        elif rate != self.listener.sample_rate:
            raise BadInputError(
                f"expected a stream of {self.listener.sample_rate} Hz to go on so, got {rate} Hz"
            )
        for piece in self.pieces(samples):
            await self._report(await asyncio.to_thread(self.listener, piece))

    async def _end(self) -> None:
        if self.listener:
            for piece in self.pieces.rest():
                await self._report(await asyncio.to_thread(self.listener, piece))
            await self._report(await asyncio.to_thread(self.listener.finish))
        if not self.has_heard:
            await self.tell(NotDetected())
        self._begin()

    async def _report(self, events: list[detector.Event]) -> None:
        for event in events:
            if event.keyword in self.names:
                self.has_heard = True
                timestamp = self.timestamp
                if timestamp is None:
                    timestamp = round(MS_PER_SECOND * event.time)
                await self.tell(Detection(event.keyword, timestamp))


def sound_of(event: Event) -> tuple[int, np.ndarray, Any]:
    """The rate of an `audio-chunk` (Hz), its samples as float32 (T,), the mean of its channels, and its timestamp.

    Raises:
        BadInputError: it says no format, or another than that of its bytes.
    """
    try:
        chunk = AudioChunk.from_event(event)
        check_whole(rate=chunk.rate, channels=chunk.channels)
        check_whole(min(SAMPLES), max(SAMPLES), width=chunk.width)
        check_rate(chunk.rate, "the sound")
    except KeyError as error:
        raise BadInputError(f"expected {error.args[0]} in an audio-chunk, got none") from None
    except KwsError as error:
        raise BadInputError(f"an audio-chunk: {error}") from None
    if len(chunk.audio) % (chunk.width * chunk.channels):
        raise BadInputError(
            f"expected {chunk.channels} channels of {chunk.width} bytes, got {len(chunk.audio)} bytes"
        )
    audio = chunk.audio
    if chunk.width == BYTES_OF_24_BITS:
        lowest_first = np.frombuffer(audio, np.uint8).reshape(-1, chunk.width)
        audio = np.pad(lowest_first, ((0, 0), (1, 0))).tobytes()
    columns = np.frombuffer(audio, SAMPLES[chunk.width]).reshape(-1, chunk.channels)
    return (
        chunk.rate,
        to_float(columns, "the sound").mean(axis=1, dtype=np.float32),
        chunk.timestamp,
    )


def info_of(model: ModelInfo) -> Info:
    """What the service says of itself: a program, each keyword as a model of it."""
    by = Attribution(f"{DISTRIBUTION} developers", "")
    run = model.training.get("run")
    models = [
        WakeModel(
            name=keyword,
            attribution=by,
            installed=True,
            description=keyword,
            version=None if run is None else str(run),
            languages=[],
            phrase=keyword,
        )
        for keyword in keywords_of(model.labels)
    ]
    described = "Keywords in a stream of sound"
    return Info(
        wake=[WakeProgram(DISTRIBUTION, by, True, described, version(DISTRIBUTION), models)]
    )
