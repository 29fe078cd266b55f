"""The asyncio client of a Triton server, by HTTP or gRPC.

    async with AsyncTritonClient("127.0.0.1:8001", protocol="grpc") as client:
        probabilities, logits = await client.infer(waveforms)

Legend: B batch, T samples, K keywords; of streams n frames, R rows of the state, H frames that it keeps.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import numpy as np

from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import (
    KwsError,
    check_choice,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.inference.backends.triton_requests import (
    DEFAULT_URLS,
    HTTP,
    ServedModel,
    checked_address,
    explained,
    failures,
    is_worth_another_try,
)
from speech_commands_kws.inference.model_info import (
    INPUT,
    LOGITS,
    NEXT_STATE,
    PROBABILITIES,
    STATE,
)

__all__ = ["AsyncTritonClient"]

MODEL_NAME = "kws_onnx"
STREAM_NAME = "kws_stream"
TIMEOUT_SECONDS = 5.0
RETRIES = 4
WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
# No server is ended and another one started in less: an answer so soon after the last one is of the same model.
RESTART_SECONDS = 1.0
UNKNOWN_MODEL = "unknown model"  # how Triton says that a version is not loaded
# gRPC waits for up to two minutes before it connects again to a server that was away.
RECONNECT = ("grpc.max_reconnect_backoff_ms", 1000)


class AsyncTritonClient:
    """A client of a Triton server with many requests in flight in one thread.

    It connects where `async with` begins.

    Args:
        url: host:port of the server, http:// or grpc:// in front says the protocol too; None: this machine, at the
            protocol's usual port.
        name: of the model.
        protocol: http or grpc.
        timeout_seconds: for one answer.
        retries: further tries after a 503 or a lost connection, and after nothing else.
        wait_seconds: before the first of them; doubled for each further one up to two seconds, and shortened at random
            by up to a half, so that clients that failed together do not come back together.

    Attributes:
        served: what the server said about the model when the client connected.

    Raises:
        KwsError: no server answers, or it does not serve this model.
    """

    def __init__(
        self,
        url: str | None = None,
        name: str = MODEL_NAME,
        protocol: str = HTTP,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        check_choice(DEFAULT_URLS, protocol=protocol)
        check_positive(timeout_seconds=timeout_seconds)
        check_number(0, wait_seconds=wait_seconds)
        check_whole(0, retries=retries)
        self.url, self.protocol = checked_address(url, protocol)
        self.name = name
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self.wait_seconds = wait_seconds
        self._orders: dict[str, list[int]] = {}
        self._asking = asyncio.Lock()
        self._version = ""  # that has begun the streams
        self._known_until = 0.0

    async def __aenter__(self) -> "AsyncTritonClient":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> ServedModel:
        """Connect, and ask about the model."""
        self._client = self._connect()
        async with AsyncExitStack() as when_failed:
            when_failed.push_async_callback(self.close)
            # Who has mistyped the address need not wait for as long as one whose stream goes on.
            self.served = await self._persistently(self._describe, min(self.retries, RETRIES))
            when_failed.pop_all()
        return self.served

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips by one request.

        Shape:
            - waveforms: float32 `(B, T)`, B at most `served.max_batch_size`
            - probabilities, logits: float32 `(B, K)`, columns in the order of `served.info.labels`, whichever version
              of the model answers

        Raises:
            KwsError: the clips are not fit to be sent, the server gives no answer, or it has loaded a version that
                takes or names something else than `served`.
        """
        self.served.check(waveforms)
        return await self._persistently(partial(self._infer_in_order, waveforms), self.retries)

    async def step(self, waveform: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the next sound of streams by one request; the server keeps nothing of them.

        Shape:
            - waveform: float32 `(B, T)`, B at most `served.max_batch_size`, T as in `served.shapes`
            - state: float32 `(B, R, H)`, zeros at first, then what the call before gave
            - probabilities, next state: float32 `(B, n, K)`, `(B, R, H)`

        Raises:
            KwsError: the arrays are not fit to be sent, the server gives no answer, or the model that has begun the
                streams is there no longer: another one would take their state for its own.
        """
        self.served.check_step(waveform, state)
        feeds = {INPUT: waveform, STATE: state}
        return await self._persistently(partial(self._go_on, feeds), self.retries, tell=True)

    async def is_healthy(self) -> bool:
        """Whether the server answers one clip of silence; asked once."""
        shapes = self.served.shapes.items()
        silence = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes}
        try:
            answers, _ = await self._in_time(partial(self._infer, silence, [PROBABILITIES]))
        except failures():
            return False
        return bool(np.isfinite(answers[0]).all())

    async def _persistently(
        self, request: Callable[[], Awaitable[Any]], retries: int, tell: bool = False
    ) -> Any:
        for i in range(retries + 1):
            try:
                return await self._in_time(request)
            except failures() as error:
                reason = explained(error, self.url, self.name, self.timeout_seconds)
                if i == retries or not is_worth_another_try(error):
                    raise reason from error
                if tell and i == 0:
                    say(f"{reason}; trying again")
            wait = min(self.wait_seconds * 2**i, max(self.wait_seconds, LONGEST_WAIT_SECONDS))
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _in_time(self, request: Callable[[], Awaitable[Any]]) -> Any:
        return await asyncio.wait_for(request(), self.timeout_seconds)

    def _connect(self) -> Any:
        # Here and not above: a process that uses another engine need not have this one.
        if self.protocol == HTTP:
            from tritonclient.http import aio

            return aio.InferenceServerClient(self.url)
        from tritonclient.grpc import aio

        # These take the place of those that the client sets otherwise.
        no_limit = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        return aio.InferenceServerClient(self.url, channel_args=[*no_limit, RECONNECT])

    async def _describe(self, version: str = "") -> ServedModel:
        """What the server says about a version of the model, by default the one that it serves now."""
        if self.protocol == HTTP:
            config = await self._client.get_model_config(self.name, version)
        else:
            answer = await self._client.get_model_config(self.name, version, as_json=True)
            config = answer["config"]
        return ServedModel.from_config(config, f"the model {self.name} at {self.url}")

    async def _infer_in_order(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers, version = await self._infer({INPUT: waveforms}, [PROBABILITIES, LOGITS])
        order = await self._order_of(version)
        probabilities, logits = (values[:, order] for values in answers)
        return probabilities, logits

    async def _go_on(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Answers of the model that has begun the streams; it is asked for where it may have changed meanwhile."""
        from tritonclient.utils import InferenceServerException

        is_answered = False
        try:
            answers, version = await self._infer(feeds, [PROBABILITIES, NEXT_STATE], self._version)
            async with self._asking:  # once for all that wait together
                if time.monotonic() > self._known_until:
                    await self._check_same(version)
                self._known_until = time.monotonic() + RESTART_SECONDS
            is_answered = True
        except InferenceServerException as error:
            if self._version and UNKNOWN_MODEL in str(error):
                raise self._another_model(f"version {self._version} no longer") from error
            raise
        finally:
            if not is_answered:
                self._known_until = 0.0
        return answers

    async def _check_same(self, version: str) -> None:
        """Raises KwsError where the version that answers is of another model than `served`."""
        if await self._describe(version) != self.served:
            raise self._another_model("another model than when this client connected")
        self._version = version

    def _another_model(self, what: str) -> KwsError:
        return KwsError(
            f"the server at {self.url} serves {what} as {self.name}, and no other model can go on with the state of "
            "these streams: begin them anew"
        )

    async def _order_of(self, version: str) -> list[int]:
        """Where the answers of a version have the labels of `served`."""
        from tritonclient.utils import InferenceServerException

        async with self._asking:  # once for all the requests that meet a new version together
            if version not in self._orders:
                try:
                    model = await self._describe(version)
                except InferenceServerException as error:
                    # A newer one has taken its place meanwhile, and its labels are not to be had: infer again.
                    raise ConnectionError(f"version {version} has gone: {error}") from error
                self._orders[version] = self.served.order_of(model)
        return self._orders[version]

    async def _infer(
        self, feeds: Mapping[str, np.ndarray], names: Sequence[str], version: str = ""
    ) -> tuple[list[np.ndarray], str]:
        """The outputs of these names, and the version of the model that gave them: this one, if any is given."""
        if self.protocol == HTTP:
            from tritonclient import http as client
        else:
            from tritonclient import grpc as client

        inputs = [client.InferInput(name, list(feed.shape), "FP32") for name, feed in feeds.items()]
        for tensor, feed in zip(inputs, feeds.values(), strict=True):
            tensor.set_data_from_numpy(feed)
        outputs = [client.InferRequestedOutput(name) for name in names]
        result = await self._client.infer(self.name, inputs, version, outputs)
        answer = result.get_response()
        version = answer.get("model_version", "") if self.protocol == HTTP else answer.model_version
        return [result.as_numpy(name) for name in names], version
