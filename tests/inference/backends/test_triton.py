"""Both clients against a stand-in that fails as prescribed: what is asked again, what is not, and for how long."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from triton_stand_in import DRIP, GRPC, INFO, LOST, NONSENSE, SLOW, StandIn, stand_in

from speech_commands_kws import KeywordSpotter
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends import triton, triton_async
from speech_commands_kws.inference.backends.triton import (
    TritonBackend,
    TritonClient,
    background_loop,
)
from speech_commands_kws.inference.backends.triton_async import AsyncTritonClient
from speech_commands_kws.inference.model_info import ModelInfo

CLIP = np.zeros((1, 400), np.float32)
SENSELESS = [
    *((seconds, 1, 0.1) for seconds in (0, -1, "x", float("nan"), float("inf"), True)),
    *((1, 1, seconds) for seconds in (-1, "x", float("inf"))),
    *((1, retries, 0.1) for retries in (-1, 1.5, "x", True)),
]
# A busy machine may take long, and no answer is not asked for again.
QUICK = {"timeout_seconds": 30, "retries": 2, "wait_seconds": 0.01}


@pytest.fixture(autouse=True)
def needs_the_client() -> None:
    pytest.importorskip("tritonclient", reason="needs the extra `serve`")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


def directly(url: str, ask: str = "infer", **settings: Any) -> Any:
    with TritonClient(url, **QUICK | settings) as client:
        return client.infer(CLIP) if ask == "infer" else client.is_healthy()


def by_asyncio(url: str, ask: str = "infer", **settings: Any) -> Any:
    async def answer() -> Any:
        async with AsyncTritonClient(url, **QUICK | settings) as client:
            return await (client.infer(CLIP) if ask == "infer" else client.is_healthy())

    return asyncio.run(answer())


BOTH = pytest.mark.parametrize("ask", [directly, by_asyncio])


@BOTH
@pytest.mark.parametrize("script", [[], [503], [503, 503], [LOST], [LOST, 503]])
def test_overload_and_lost_connections_are_asked_again(
    server: StandIn, ask: Callable, script: list[int]
) -> None:
    server.script = list(script)
    probabilities, logits = ask(server.url)
    np.testing.assert_array_equal(probabilities, server.probabilities)
    np.testing.assert_array_equal(logits, server.probabilities)
    assert server.asked == 1 + len(script)


@BOTH
@pytest.mark.parametrize(
    ("script", "asked", "complaint"),
    [
        ([503] * 9, 3, "503"),
        ([400], 1, "400.*as the test prescribes"),
        ([500], 1, "500.*as the test prescribes"),
        ([SLOW], 1, "no answer from .* within 0.5 s"),
        ([DRIP], 1, "no answer from .* within 0.5 s"),  # each byte in time, the answer not
        ([NONSENSE], 1, "what answers at .* is no Triton server"),
        ([GRPC], 1, "what answers at .* is no Triton server.* gRPC port needs .*=triton_grpc"),
    ],
)
def test_nothing_else_is_asked_again_and_the_end_is_one_line(
    server: StandIn, ask: Callable, script: list[int], asked: int, complaint: str
) -> None:
    server.script = list(script)
    is_late = "within" in complaint
    with pytest.raises(KwsError, match=complaint) as caught:
        ask(server.url, **{"timeout_seconds": 0.5} if is_late else {})
    assert "\n" not in str(caught.value)
    # On a busy machine the time may be over before the question is sent.
    assert server.asked <= asked if is_late else server.asked == asked


@BOTH
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_where_no_server_is_the_message_says_how_to_start_one(ask: Callable, protocol: str) -> None:
    for url in ("127.0.0.1:1", "nowhere.invalid:8000"):
        with pytest.raises(KwsError, match=f"no Triton server answers at {url} .*kws serve"):
            ask(url, protocol=protocol)


@BOTH
def test_another_protocol_is_refused(ask: Callable) -> None:
    with pytest.raises(KwsError, match="protocol must be one of http, grpc, got carrier pigeon"):
        ask("127.0.0.1:1", protocol="carrier pigeon")


def test_a_request_has_no_more_clips_than_fit_it_and_at_least_one(monkeypatch) -> None:
    asked = []

    def infer(waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(waveforms))
        return waveforms, waveforms

    backend = object.__new__(TritonBackend)
    backend.client = SimpleNamespace(infer=infer, served=SimpleNamespace(max_batch_size=4))
    for fitting in (3.5, 0.5, 9):
        monkeypatch.setattr(triton, "REQUEST_BYTES", int(fitting * CLIP.nbytes))
        backend(np.repeat(CLIP, 5, axis=0))
    assert asked == [3, 2, *(1, 1, 1, 1, 1), *(4, 1)]


def test_a_stream_is_sent_in_requests_of_one_length_and_ended_by_less() -> None:
    asked = []

    def step(sound: np.ndarray, state: int) -> tuple[np.ndarray, int]:
        asked.append(sound.tolist())
        return sound.reshape(len(sound), 2, 2), state + 1

    backend = object.__new__(TritonBackend)
    backend.client, backend.call_samples = SimpleNamespace(step=step), 4
    two = np.arange(16.0).reshape(2, 8)
    rows, state = backend.step(two, 0)
    assert state == 2
    np.testing.assert_array_equal(rows, two.reshape(2, 4, 2))
    rows, state = backend.step(np.ones((1, 6)), 0)
    assert rows.shape == (1, 3, 2) and state is None and asked[-1] == [[1, 1, 0, 0]]
    with pytest.raises(KwsError, match="has ended"):
        backend.step(two, state)


def test_waits_double_up_to_two_seconds_and_vary(server: StandIn, monkeypatch) -> None:
    waits, pause = [], asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await pause(0)

    monkeypatch.setattr(triton_async.asyncio, "sleep", note)
    server.script = [503] * 6
    directly(server.url, retries=6, wait_seconds=0.1)
    waits = [wait for wait in waits if wait]
    longest = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
    assert [most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True)] == [
        True
    ] * 6


@pytest.mark.parametrize("settings", SENSELESS)
def test_patience_that_makes_no_sense_is_refused(settings: tuple) -> None:
    with pytest.raises(KwsError, match="(timeout_seconds|wait_seconds|retries) must be"):
        AsyncTritonClient(None, "kws_onnx", "http", *settings)


@BOTH
def test_nothing_need_be_asked_again_or_waited_for(server: StandIn, ask: Callable) -> None:
    server.script = [503]
    with pytest.raises(KwsError, match="503"):
        ask(server.url, retries=0, wait_seconds=0)
    assert server.asked == 1


@BOTH
def test_health_is_an_inference_asked_once(server: StandIn, ask: Callable) -> None:
    assert ask(server.url, "health") is True
    for status in (503, NONSENSE):
        server.script = [status]
        assert ask(server.url, "health") is False
    server.probabilities = np.full((1, 3), np.nan, np.float32)
    assert ask(server.url, "health") is False
    assert server.asked == 4


def test_a_bad_clip_is_not_sent(server: StandIn) -> None:
    with TritonClient(server.url, **QUICK) as client:
        for bad in (CLIP[:, :-1], np.full_like(CLIP, np.nan), np.zeros((5, 400), np.float32)):
            with pytest.raises(KwsError):
                client.infer(bad)
    assert server.asked == 0


def test_a_client_that_is_collected_in_the_thread_of_the_loop_does_not_stop_it(
    server: StandIn,
) -> None:
    client, loop = TritonClient(server.url, **QUICK), background_loop()
    loop.call_soon_threadsafe(client.close)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=5)
    assert directly(server.url, "health") is True


def test_closing_is_waited_for_but_not_by_the_thread_that_does_it(monkeypatch) -> None:
    monkeypatch.setattr(triton, "CLOSE_SECONDS", 3.0)
    closed = []

    async def closing() -> None:
        await asyncio.sleep(0.1)
        closed.append(True)

    async def seconds() -> float:
        begin = time.monotonic()
        triton.close(SimpleNamespace(close=closing))
        return time.monotonic() - begin

    triton.close(SimpleNamespace(close=closing))
    assert closed
    assert asyncio.run_coroutine_threadsafe(seconds(), background_loop()).result() < 2


def test_the_engine_of_a_spotter_sends_what_the_server_takes_at_once(server: StandIn) -> None:
    backend = TritonBackend("kws_onnx", url=server.url, **QUICK)
    assert backend.info == INFO
    probabilities, _ = backend(np.zeros((9, 400), np.float32))
    assert server.asked == 3 and probabilities.shape == (3, 3)  # the stand-in answers one row each


def test_a_version_with_other_columns_is_read_by_its_own_labels(server: StandIn) -> None:
    """Asked about once, where its first answer comes; another thread's answer of the old one stays right too."""
    spotter = KeywordSpotter("kws_onnx", backend=partial(TritonBackend, url=server.url, **QUICK))
    sound = np.zeros(400, np.float32)
    assert [spotter(sound)[0].label for _ in range(2)] == ["yes", "yes"]
    server.versions["2"] = replace(INFO, labels=("no", "_unknown_", "yes"))
    server.probabilities = np.array([[0.25, 0.125, 0.5]], np.float32)
    server.version = "2"
    answers = [spotter(sound)[0] for _ in range(2)]
    assert [answer.label for answer in answers] == ["yes", "yes"]
    assert [keyword.probability for keyword in answers[0].keywords] == [0.5, 0.25, 0.125]
    server.version = "1"
    server.probabilities = np.array([[0.25, 0.5, 0.125]], np.float32)
    assert spotter(sound)[0].label == "no"
    assert server.described == ["", "1", "2"]


@pytest.mark.parametrize(
    "info", [replace(INFO, labels=("yes", "no", "stop")), replace(INFO, sample_rate=16_000)]
)
def test_a_version_that_is_another_model_is_refused(server: StandIn, info: ModelInfo) -> None:
    with TritonClient(server.url, **QUICK) as client:
        client.infer(CLIP)
        server.version, server.versions = "2", {"2": info}
        for _ in range(2):
            with pytest.raises(KwsError, match="loaded a model with other labels .*connect again"):
                client.infer(CLIP)


def test_the_answer_of_a_version_that_has_gone_is_asked_for_again(server: StandIn) -> None:
    class Reloaded(dict):
        def get(self, version: str) -> ModelInfo | None:
            server.version = "2"  # while it is asked about the first
            return super().get(version)

    with TritonClient(server.url, **QUICK) as client:
        server.versions = Reloaded({"2": INFO})
        client.infer(CLIP)
    assert server.asked == 2 and server.described == ["", "1", "2"]
