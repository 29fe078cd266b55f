"""The asyncio client of a Triton server, by HTTP or gRPC.

    async with AsyncTritonClient("127.0.0.1:8001", protocol="grpc") as client:
        probabilities, logits = await client.infer(waveforms)

Legend: B batch, T samples, K keywords.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import numpy as np

from speech_commands_kws.errors import check_choice, check_number, check_positive, check_whole
from speech_commands_kws.inference.backends.triton_requests import (
    DEFAULT_URLS,
    HTTP,
    ServedModel,
    checked_url,
    explained,
    failures,
    is_worth_another_try,
)
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES

MODEL_NAME = "kws_onnx"
TIMEOUT_SECONDS = 5.0
RETRIES = 4
WAIT_SECONDS = 0.1


class AsyncTritonClient:
    """A client of a Triton server with many requests in flight in one thread.

    It connects where `async with` begins.

    Args:
        url: host:port of the server; None: this machine, at the protocol's usual port.
        name: of the model.
        protocol: http or grpc.
        timeout_seconds: for one answer.
        retries: further tries after a 503 or a lost connection, and after nothing else.
        wait_seconds: before the first of them; doubled for each further one, and shortened at random by up to a half,
            so that clients that failed together do not come back together.

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
        self.protocol = protocol
        self.url = checked_url(url, protocol)
        self.name = name
        self.timeout_seconds = timeout_seconds
        self.retries = retries
        self.wait_seconds = wait_seconds
        self._orders: dict[str, list[int]] = {}
        self._asking = asyncio.Lock()

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
            self.served = await self._persistently(self._describe)
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
        return await self._persistently(partial(self._infer_in_order, waveforms))

    async def is_healthy(self) -> bool:
        """Whether the server answers one clip of silence; asked once."""
        silence = np.zeros((1, self.served.info.clip_samples), np.float32)
        try:
            probabilities, _, _ = await self._in_time(partial(self._infer, silence))
        except failures():
            return False
        return bool(np.isfinite(probabilities).all())

    async def _persistently(self, request: Callable[[], Awaitable[Any]]) -> Any:
        for i in range(self.retries + 1):
            try:
                return await self._in_time(request)
            except failures() as error:
                if i == self.retries or not is_worth_another_try(error):
                    raise explained(error, self.url, self.name, self.timeout_seconds) from error
            await asyncio.sleep(self.wait_seconds * 2**i * random.uniform(0.5, 1.0))

    async def _in_time(self, request: Callable[[], Awaitable[Any]]) -> Any:
        return await asyncio.wait_for(request(), self.timeout_seconds)

    def _connect(self) -> Any:
        # Here and not above: a process that uses another engine need not have this one.
        if self.protocol == HTTP:
            from tritonclient.http import aio
        else:
            from tritonclient.grpc import aio
        return aio.InferenceServerClient(self.url)

    async def _describe(self, version: str = "") -> ServedModel:
        """What the server says about a version of the model, by default the one that it serves now."""
        if self.protocol == HTTP:
            config = await self._client.get_model_config(self.name, version)
        else:
            answer = await self._client.get_model_config(self.name, version, as_json=True)
            config = answer["config"]
        return ServedModel.from_config(config, f"the model {self.name} at {self.url}")

    async def _infer_in_order(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, logits, version = await self._infer(waveforms)
        order = await self._order_of(version)
        return probabilities[:, order], logits[:, order]

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

    async def _infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
        """Probabilities, logits and the version of the model that gave them."""
        if self.protocol == HTTP:
            from tritonclient import http as client
        else:
            from tritonclient import grpc as client

        waveform = client.InferInput(INPUT, list(waveforms.shape), "FP32")
        waveform.set_data_from_numpy(waveforms)
        outputs = [client.InferRequestedOutput(name) for name in (PROBABILITIES, LOGITS)]
        result = await self._client.infer(self.name, inputs=[waveform], outputs=outputs)
        answer = result.get_response()
        version = answer.get("model_version", "") if self.protocol == HTTP else answer.model_version
        return result.as_numpy(PROBABILITIES), result.as_numpy(LOGITS), version
