"""Real connections to a real server, both in one event loop."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from streaming_models import HOP_SAMPLES, SECONDS, lively_sound, streaming_file
from trained_looking import LABELS, SAMPLE_RATE

from speech_commands_kws import KeywordListener
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.serving.websocket import WebsocketServer

LOW = 0.35  # a threshold that this untrained model reaches
FINISH = {"finish": True}
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("model"))


def configured(*overrides: str) -> WebsocketServer:
    settings = [f"websocket.{each}" for each in ("port=0", f"thresholds={LOW}", *overrides)]
    with initialize_config_dir(CONFIG_DIR):
        return build(compose("serve", settings).websocket)


class Clients:
    """Of one server, which they reach at its `url`."""

    def __init__(self, server: WebsocketServer, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.url = f"http://127.0.0.1:{server.port}/"

    @asynccontextmanager
    async def connected(self, query: str = "", **options: Any) -> AsyncIterator["Client"]:
        async with self.session.ws_connect(self.url + query, **options) as connection:
            yield Client(connection)


class Client:
    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection

    async def send(self, samples: np.ndarray, chunk: int) -> None:
        for start in range(0, len(samples), chunk):
            await self.connection.send_bytes(samples[start : start + chunk].tobytes())

    async def rest(self) -> tuple[list[dict[str, Any]], int, str]:
        """Messages until the connection is closed, and by what code and reason."""
        messages = []
        while (message := await self.connection.receive()).type not in CLOSED:
            messages.append(json.loads(message.data))
        return messages, self.connection.close_code, message.extra

    async def all_of(
        self, samples: np.ndarray, chunk: int
    ) -> tuple[dict[str, Any], list[tuple[str, float]]]:
        """The greeting, and the events of a whole stream."""
        greeting = await self.connection.receive_json()
        await self.send(samples, chunk)
        await self.connection.send_json(FINISH)
        events, code, reason = await self.rest()
        assert (code, reason) == (1000, "finished")
        return greeting, [(event["keyword"], event["time"]) for event in events]


def with_clients(
    model: Path, use: Callable[[Clients], Awaitable[None]], *overrides: str
) -> WebsocketServer:
    server = configured(*overrides)

    async def serve() -> None:
        await server.open(model)
        try:
            async with aiohttp.ClientSession() as session:
                await use(Clients(server, session))
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(serve(), 120))
    return server


def integers(rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.round(lively_sound(SECONDS, rate) * 32767).astype("<i2")


def expected(model: Path, samples: np.ndarray, rate: int | None = None) -> list[tuple[str, float]]:
    """What a listener hears of it in one go."""
    listener = KeywordListener(model, rate, LOW)
    events = [*listener(samples), *listener.finish()]
    assert len(events) >= 2
    return [(event.keyword, round(event.time, 6)) for event in events]


@pytest.mark.parametrize(
    ("rate", "chunk"), [(None, 1600), (None, 37), (None, 96_000), (48_000, 4097)]
)
def test_events_are_those_of_the_sound_in_one_go(model, rate, chunk) -> None:
    samples = integers(rate or SAMPLE_RATE)

    async def use(clients: Clients) -> None:
        async with clients.connected(f"?sample_rate={rate}" if rate else "") as client:
            greeting, events = await client.all_of(samples, chunk)
        assert greeting == {
            "labels": list(LABELS),
            "thresholds": {"yes": LOW, "no": LOW},
            "sample_rate": rate or SAMPLE_RATE,
            "hop_ms": 10,
            "message_bytes": 1_000_000,
        }
        assert events == expected(model, samples, rate)

    with_clients(model, use)


def test_what_the_last_samples_decide_is_told(model) -> None:
    """They are fewer than a piece that is scored."""
    event = expected(model, integers())[0]
    until = round(event[1] * SAMPLE_RATE)

    async def use(clients: Clients) -> None:
        async with clients.connected() as client:
            assert (await client.all_of(integers()[:until], until - HOP_SAMPLES))[1] == [event]

    with_clients(model, use)


def test_an_event_comes_while_the_stream_goes_on_and_has_the_fields_of_kws_listen(model) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as client:
            await client.connection.receive_json()
            await client.send(integers(), 1600)
            event = await client.connection.receive_json()
        assert list(event) == ["keyword", "time", "score", "start", "wall_time"]
        assert (event["keyword"], event["time"]) == expected(model, integers())[0]
        assert LOW <= event["score"] <= 1 and event["start"] < event["time"]

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

    marked = integers()
    marked[0] = -(2**15)

    async def use(clients: Clients) -> None:
        clients.server.model = Hanging(model)
        async with clients.connected() as one, clients.connected() as other:
            held_up = asyncio.create_task(one.all_of(marked, 1600))
            await asyncio.to_thread(hangs.wait, 100)
            _, events = await other.all_of(integers()[::-1], 999)
            assert events == expected(model, integers()[::-1])
            assert not held_up.done()
            goes_on.set()
            assert (await held_up)[1] == expected(model, marked)

    with_clients(model, use)


def test_a_client_that_is_too_fast_has_to_wait(model) -> None:
    """Of twenty megabytes it can send no more than what may wait, until the first sound is scored."""
    goes_on = threading.Event()
    sent = 0

    class Hanging(StreamingModel):
        def __call__(self, waveform, state):
            goes_on.wait(100)
            return super().__call__(waveform, state)

    async def send(client: Client) -> None:
        nonlocal sent
        for sent in range(2000):
            await client.connection.send_bytes(bytes(10_000))

    async def use(clients: Clients) -> None:
        clients.server.model = Hanging(model)
        async with clients.connected() as client:
            sending = asyncio.create_task(send(client))
            before = -1
            while sent != before and not sending.done():
                before = sent
                await asyncio.sleep(0.5)
            goes_on.set()
            sending.cancel()
            assert sent < 1000

    with_clients(model, use)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"odd", "expected 16-bit samples, got 3 bytes"),
        ("end", """expected samples or {"finish": true}, got 'end'"""),
        ('{"finish": false}', "expected samples or"),
        ("[" * 100_000, "expected samples or"),
        ("ü" * 200, "got 'üüü"),
    ],
)
def test_a_bad_message_ends_its_own_stream_alone(model, message, complaint) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as good, clients.connected() as bad:
            listening = asyncio.create_task(good.all_of(integers(), 1600))
            if isinstance(message, str):
                await bad.connection.send_str(message)
            else:
                await bad.connection.send_bytes(message)
            _, code, reason = await bad.rest()
            assert code == 1007 and complaint in reason
            assert (await listening)[1] == expected(model, integers())

    with_clients(model, use)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("?sample_rate=fast", "expected sample_rate= of 1000 to 768000 Hz, got fast"),
        ("?sample_rate=999", "expected sample_rate= of 1000 to 768000 Hz, got 999"),
        ("?rate=8000", "expected only sample_rate= in the address, got rate="),
    ],
)
def test_a_bad_address_says_what_it_takes(model, query, complaint) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected(query) as client:
            assert await client.rest() == ([], 1007, complaint)

    with_clients(model, use)


def test_a_message_that_is_too_long_ends_the_stream(model) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as client:
            greeting, _ = await client.all_of(np.zeros(2000, "<i2"), 2000)
            assert greeting["message_bytes"] == 4000
        async with clients.connected() as client:
            await client.connection.receive_json()
            await client.send(np.zeros(2001, "<i2"), 2001)
            assert (await client.rest())[1] == 1009

    with_clients(model, use, "message_bytes=4000")


def test_one_connection_too_many_is_refused_until_another_has_ended(model) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as first, clients.connected() as second:
            for each in (first, second):
                await each.connection.receive_json()
            async with clients.connected() as third:
                reason = "2 connections are open, the most: try later"
                assert await third.rest() == ([], 1013, reason)
            # It goes without a word.
            first.connection._response.connection.transport.abort()
            while len(clients.server.connections) > 1:
                await asyncio.sleep(0.01)
            async with clients.connected() as fourth:
                assert (await fourth.all_of(integers(), 1600))[1] == expected(model, integers())

    with_clients(model, use, "most_connections=2")


def test_a_client_that_says_nothing_is_told_so_and_left(model) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as client:
            await client.connection.receive_json()
            assert await client.rest() == ([], 1008, "nothing came for 0.1 s")

    with_clients(model, use, "idle_seconds=0.1")


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("https://[::1]:8443", True),
        ("https://example.org", True),
        ("https://example.org:8443", False),
        ("http://localhost.example.com", False),
        ("http://example.com?localhost", False),
        ("http://[", False),
        ("null", False),
    ],
)
def test_pages_of_this_machine_and_of_the_list_may_connect(model, origin, is_allowed) -> None:
    async def use(clients: Clients) -> None:
        if is_allowed:
            async with clients.connected(origin=origin) as client:
                assert "labels" in await client.connection.receive_json()
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with clients.connected(origin=origin):
                pass
        assert refusal.value.status == 403

    with_clients(model, use, "origins=['https://example.org']")


def test_a_model_that_fails_is_told(model) -> None:
    class Failing(StreamingModel):
        def __call__(self, waveform, state):
            raise KwsError("out of order")

    async def use(clients: Clients) -> None:
        async with clients.session.get(clients.url + "health") as answer:
            assert (answer.status, await answer.json()) == (200, {"connections": 0})
        clients.server.model = Failing(model)
        async with clients.session.get(clients.url + "health") as answer:
            assert (answer.status, await answer.text()) == (503, "out of order\n")
        async with clients.connected() as client:
            await client.connection.receive_json()
            await client.send(integers(), 1600)
            assert await client.rest() == ([], 1011, "out of order")

    with_clients(model, use)


def test_clients_are_told_that_the_server_ends(model) -> None:
    async def use(clients: Clients) -> None:
        async with clients.connected() as client:
            await client.connection.receive_json()
            ending = asyncio.create_task(clients.server.close())
            assert await client.rest() == ([], 1001, "the server ends")
            await ending

    with_clients(model, use)


def test_what_is_no_websocket_is_answered(model) -> None:
    async def use(clients: Clients) -> None:
        for path, status in (("", 400), ("other", 404)):
            async with clients.session.get(clients.url + path) as answer:
                assert answer.status == status

    with_clients(model, use)


def test_mistakes_are_met_before_a_client_is(model, tiny_onnx, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            KwsError, match=f"port {port} of 127.0.0.1 cannot be had .*websocket.port="
        ):
            configured(f"port={port}").run(model, print)
    with pytest.raises(KwsError, match="answers for clips"):
        configured().run(tiny_onnx, print)
    with pytest.raises(KwsError, match="one of yes, no, got maybe"):
        configured("thresholds={maybe: 0.5}").run(model, print)
    with pytest.raises(KwsError, match="websocket.most_connections must be a whole number"):
        configured("most_connections=0")
