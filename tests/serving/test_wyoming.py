"""The package's own client at a real server, both in one event loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from streaming_models import SECONDS, lively_sound, streaming_file
from trained_looking import SAMPLE_RATE
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from speech_commands_kws import KeywordListener
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.serving.wyoming import WyomingServer

LOW = 0.35  # a threshold that this untrained model reaches
CHUNK = 160  # samples of Home Assistant's chunks
HEADER = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("model"))


def configured(*overrides: str) -> WyomingServer:
    settings = [f"wyoming.{each}" for each in ("port=0", f"thresholds={LOW}", *overrides)]
    with initialize_config_dir(CONFIG_DIR):
        return build(compose("serve", settings).wyoming)


class Client:
    def __init__(self, connection: AsyncTcpClient) -> None:
        self.connection = connection
        self.stamp: int | None = None  # of the first sample of a stream

    async def send(self, *messages: Eventable) -> None:
        for message in messages:
            await self.connection.write_event(message.event())

    async def receive(self) -> Event | None:
        return await self.connection.read_event()

    async def sound(self, sound: np.ndarray, chunk: int = CHUNK, rate=SAMPLE_RATE, width=2) -> None:
        """The chunks of a stream (T,) or (T, C)."""
        channels = sound[0].size if len(sound) else 1
        for start in range(0, len(sound), chunk):
            audio = as_bytes(sound[start : start + chunk], width)
            await self.send(
                AudioChunk(rate, width, channels, audio, self.stamp and start + self.stamp)
            )

    async def heard(self) -> list[tuple[str, int]]:
        """The detections until something else comes."""
        found = []
        while (event := await self.receive()) and Detection.is_type(event.type):
            detection = Detection.from_event(event)
            found.append((detection.name, detection.timestamp))
        return found

    async def all_of(self, sound: np.ndarray, *names: str, **form) -> list[tuple[str, int]]:
        """The detections of a stream; a question at its end marks that there are no more."""
        await self.send(Detect(list(names) or None), AudioStart(**HEADER))
        await self.sound(sound, **form)
        await self.send(AudioStop(), Ping("end"))
        found = await self.heard()
        if not found:
            assert Pong.is_type((await self.receive()).type)
        return found


def as_bytes(samples: np.ndarray, width: int) -> bytes:
    """Samples within ±1 as the integers of a WAV, the lowest byte first."""
    if width == 1:
        return np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    largest = 2 ** (8 * width - 1) - 1
    integers = np.round(samples * largest).astype("<i8").view(np.uint8)
    return integers.reshape(-1, 8)[:, :width].tobytes()


def with_clients(
    model: Path, use: Callable[[Callable], Awaitable[None]], server: WyomingServer | None = None
) -> None:
    server = server or configured()

    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        async with AsyncTcpClient("127.0.0.1", server.port) as connection:
            yield Client(connection)

    async def serve() -> None:
        await server.open(model)
        try:
            await use(connected)
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(serve(), 120))


def quantised(rate: int = SAMPLE_RATE) -> np.ndarray:
    """Sound that 16 bits hold exactly."""
    return np.round(lively_sound(SECONDS, rate) * 32767) / 32767


def expected(model: Path, sound: np.ndarray, rate: int = SAMPLE_RATE) -> list[tuple[str, int]]:
    """What a listener hears of it in one go, in milliseconds."""
    listener = KeywordListener(model, rate, LOW)
    events = [*listener(sound), *listener.finish()]
    assert {event.keyword for event in events} == {"yes", "no"}
    return [(event.keyword, round(1000 * event.time)) for event in events]


def test_a_client_is_told_the_keywords(model) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            await client.send(Describe())
            info = Info.from_event(await client.receive())
        (program,) = info.wake
        assert program.name == "speech-commands-kws" and program.installed and program.version
        assert [(each.name, each.phrase) for each in program.models] == [
            ("yes", "yes"),
            ("no", "no"),
        ]
        assert not (info.asr or info.tts or info.handle or info.intent or info.mic or info.snd)

    with_clients(model, use)


@pytest.mark.parametrize("chunk", [37, CHUNK, 1024, 96_000])
def test_detections_are_the_events_of_the_sound_in_one_go(model, chunk) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            for _ in range(2):  # a satellite has stream after stream in a connection
                assert await client.all_of(quantised(), chunk=chunk) == expected(model, quantised())

    with_clients(model, use)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_any_format_is_heard(model, width) -> None:
    """At another rate, of three channels that differ."""
    loudness = np.array([0.5, 0.7, 1.8], np.float32) / 2
    sound = quantised(48_000)[:, np.newaxis] * loudness
    sent = np.frombuffer(as_bytes(sound, 4), "<i4").reshape(-1, 3)
    if width == 1:
        sent = np.frombuffer(as_bytes(sound, 1), np.uint8).reshape(-1, 3).astype(float) - 128
    mono = sent.mean(axis=1) / np.float64(2**31 if width > 1 else 128)

    async def use(connected) -> None:
        async with connected() as client:
            found = await client.all_of(sound, chunk=480, rate=48_000, width=width)
            assert found == expected(model, mono.astype(np.float32), 48_000)

    with_clients(model, use)


def test_only_the_keywords_that_a_client_waits_for_are_told(model, caplog) -> None:
    everything = expected(model, quantised())

    async def use(connected) -> None:
        async with connected() as client:
            for name in ("yes", "no"):
                found = await client.all_of(quantised(), name)
                assert found == [each for each in everything if each[0] == name]
            assert caplog.messages == []
            await client.send(Detect(["maybe\n", "yes"]), AudioStart(**HEADER))
            await client.sound(quantised())
            await client.send(AudioStop(), Ping())
            assert {name for name, _ in await client.heard()} == {"yes"}
            assert caplog.messages == [r"a client waits for maybe\n, this model knows yes, no"]
            assert await client.all_of(quantised()) == everything

    with_clients(model, use)


def test_the_end_of_a_stream_without_a_keyword_is_told(model) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            silence = np.zeros(SECONDS * SAMPLE_RATE)
            for sound, names in ((silence[:0], None), (silence, None), (quantised(), ["maybe"])):
                await client.send(Detect(names), AudioStart(**HEADER))
                await client.sound(sound)
                await client.send(AudioStop())
                assert NotDetected.is_type((await client.receive()).type)

    with_clients(model, use)


def test_a_detection_comes_while_the_stream_goes_on_with_the_time_of_its_chunk(model) -> None:
    name, milliseconds = expected(model, quantised())[0]

    async def use(connected) -> None:
        async with connected() as client:
            client.stamp = 1_000_000
            await client.sound(quantised())
            detection = Detection.from_event(await client.receive())
        sample = detection.timestamp - client.stamp
        assert detection.name == name
        # Its chunk completes the 100 ms that are scored at once, and 20 at most that wait for each other.
        assert 0 <= sample + CHUNK - milliseconds * SAMPLE_RATE // 1000 < 0.12 * SAMPLE_RATE

    with_clients(model, use)


def test_a_stream_that_begins_anew_knows_nothing_of_the_one_before(model) -> None:
    """As a satellite begins it after each detection, without an end."""

    async def use(connected) -> None:
        async with connected() as client:
            await client.send(AudioStart(**HEADER))
            await client.sound(quantised()[:5000])
            assert await client.all_of(quantised()) == expected(model, quantised())

    with_clients(model, use)


def test_streams_are_independent_and_one_whose_scoring_hangs_holds_up_no_other(model) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    class Hanging(StreamingModel):
        """Hangs for the sound whose first sample is marked."""

        def __call__(self, waveform, state):
            if waveform[0, 0] == -1:
                hangs.set()
                goes_on.wait(100)
            return super().__call__(waveform, state)

    marked = quantised()
    marked[0] = -32768 / 32767

    async def use(connected) -> None:
        server.model = Hanging(model)
        async with connected() as one, connected() as other:
            held_up = asyncio.create_task(one.all_of(marked))
            await asyncio.to_thread(hangs.wait, 100)
            assert await other.all_of(quantised()[::-1]) == expected(model, quantised()[::-1])
            assert not held_up.done()
            goes_on.set()
            assert await held_up == expected(model, marked * np.float32(32767 / 32768))

    server = configured()
    with_clients(model, use, server=server)


def chunk_with(**data: object) -> Event:
    return Event("audio-chunk", HEADER | data, bytes(320))


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (chunk_with(width=5), "width must be a whole number from 1 to 4, got 5"),
        (chunk_with(channels=0), "channels must be a whole number of 1 or more, got 0"),
        (chunk_with(rate="fast"), "rate must be a whole number of 1 or more, got 'fast'"),
        (chunk_with(rate=10), "a sample rate of 10 Hz: expected 1000 to 768000 Hz"),
        (chunk_with(channels=3), "expected 3 channels of 2 bytes, got 320 bytes"),
        (Event("audio-chunk", {"rate": 16_000}), "expected width in an audio-chunk, got none"),
        (Event("detect", {"names": "yes"}), "names must be a list of texts"),
        (b"[1, 2]\n", "expected the header of an event, got other JSON"),
        (b'{"data": {}}\n', "expected the header of an event, got other JSON"),
        (b'{"type": "detect", "data": [1]}\n', "expected an object as the data of detect"),
        (b"[" * 60_000 + b"\n", "expected the header of an event, got other JSON"),
        (b'{"type": "audio-chunk", "payload_length": 9000000000}\n', "1000000 bytes at most"),
    ],
)
def test_bad_input_ends_its_own_connection_alone(model, caplog, sent, complaint) -> None:
    async def use(connected) -> None:
        async with connected() as good, connected() as bad:
            listening = asyncio.create_task(good.all_of(quantised()))
            if isinstance(sent, bytes):
                bad.connection._writer.write(sent)
            else:
                await bad.connection.write_event(sent)
            assert complaint in Error.from_event(await bad.receive()).text
            assert await bad.receive() is None
            assert complaint in caplog.messages[0]
            assert await listening == expected(model, quantised())

    with_clients(model, use)


def test_a_stream_keeps_its_rate(model) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            for rate in (16_000, 8000):
                await client.send(AudioChunk(rate, 2, 1, bytes(320)))
            text = Error.from_event(await client.receive()).text
            assert text == "expected a stream of 16000 Hz to go on so, got 8000 Hz"

    with_clients(model, use)


def test_what_is_no_wyoming_is_hung_up_on(model, caplog) -> None:
    """Such as a web page's request."""

    async def use(connected) -> None:
        async with connected() as client:
            client.connection._writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await client.receive() is None
            assert caplog.messages == []

    with_clients(model, use)


def test_an_event_for_other_services_is_passed_over(model) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            await client.connection.write_event(Event("select-program", {"name": "other"}))
            assert await client.all_of(quantised()) == expected(model, quantised())

    with_clients(model, use)


def test_one_connection_too_many_is_refused_until_another_has_ended(model) -> None:
    async def use(connected) -> None:
        async with connected() as first, connected() as second:
            for each in (first, second):
                await each.send(Ping())
                await each.receive()
            async with connected() as third:
                text = Error.from_event(await third.receive()).text
                assert text == "2 connections are open, the most: try later"
                assert await third.receive() is None
            first.connection._writer.transport.abort()  # without a word
            while len(server.connections) > 1:
                await asyncio.sleep(0.01)
            async with connected() as fourth:
                assert await fourth.all_of(quantised()) == expected(model, quantised())

    server = configured("most_connections=2")
    with_clients(model, use, server=server)


def test_a_client_that_says_nothing_is_left(model) -> None:
    async def use(connected) -> None:
        async with connected() as client:
            assert await client.receive() is None

    with_clients(model, use, server=configured("idle_seconds=0.1"))


def test_a_model_that_fails_is_told(model, caplog) -> None:
    class Failing(StreamingModel):
        def __call__(self, waveform, state):
            raise KwsError("out of order")

    async def use(connected) -> None:
        server.model = Failing(model)
        async with connected() as client:
            await client.sound(quantised()[:16_000], chunk=3200)
            assert Error.from_event(await client.receive()).text == "out of order"
            assert caplog.messages == ["a client is sent away: out of order"]

    server = configured()
    with_clients(model, use, server=server)


def test_a_server_that_ends_closes_the_connections(model, caplog) -> None:
    async def use(connected) -> None:
        async with connected() as idle, connected() as busy:
            await busy.sound(quantised()[:8000])
            await busy.send(Ping())
            while not Pong.is_type((await busy.receive()).type):
                pass
            await server.close()
            assert await idle.receive() is None and await busy.receive() is None
            with pytest.raises(OSError):
                await AsyncTcpClient("127.0.0.1", server.port).connect()

    server = configured()
    with_clients(model, use, server=server)
    assert caplog.messages == []
