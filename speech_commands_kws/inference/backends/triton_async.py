"""The asyncio client of a Triton server, by HTTP or gRPC.

    async with AsyncTritonClient("127.0.0.1:8001", protocol="grpc") as client:
        probabilities, logits = await client.infer(waveforms)

Legend: B batch, T samples, K keywords.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import numpy as np

from speech_commands_kws.inference.backends.triton import (
    MODEL_NAME,
    RETRIES,
    TIMEOUT_SECONDS,
    WAIT_SECONDS,
    request_tensors,
    scores,
)
from speech_commands_kws.inference.backends.triton_requests import (
    HTTP,
    RetryPolicy,
    ServedModel,
    checked_protocol,
    checked_url,
    explained,
    failures,
    is_worth_another_try,
)


class AsyncTritonClient:
    """A client of a Triton server with many requests in flight in one thread.

    It connects where `async with` begins. The arguments, the attribute `served` and the errors are those of
    `TritonClient`.
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
        self.protocol = checked_protocol(protocol)
        self.url = checked_url(url, protocol)
        self.name = name
        self.retry_policy = RetryPolicy(timeout_seconds, retries, wait_seconds)

    async def __aenter__(self) -> "AsyncTritonClient":
        async with AsyncExitStack() as when_failed:
            self._client = self._connect()
            when_failed.push_async_callback(self._client.close)
            config = await self._persistently(self._config)
            source = f"the model {self.name} at {self.url}"
            self.served = ServedModel.from_config(config, source)
            when_failed.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips by one request; see `TritonClient.infer`."""
        self.served.check(waveforms)
        return await self._persistently(partial(self._infer, waveforms))

    async def is_healthy(self) -> bool:
        """Whether the server answers one clip of silence; asked once."""
        silence = np.zeros((1, self.served.info.clip_samples), np.float32)
        try:
            probabilities, _ = await self._infer(silence)
        except async_failures():
            return False
        return bool(np.isfinite(probabilities).all())

    async def _persistently(self, request: Callable[[], Awaitable[Any]]) -> Any:
        waits = self.retry_policy.waits()
        while True:
            try:
                return await asyncio.wait_for(request(), self.retry_policy.timeout_seconds)
            except async_failures() as error:
                wait = next(waits, None)
                if wait is None or not is_worth_another_try(error):
                    raise explained(error, self.url, self.name, self.retry_policy) from error
            await asyncio.sleep(wait)

    def _connect(self) -> Any:
        if self.protocol == HTTP:
            from tritonclient.http import aio
        else:
            from tritonclient.grpc import aio
        return aio.InferenceServerClient(self.url)

    async def _config(self) -> dict[str, Any]:
        if self.protocol == HTTP:
            return await self._client.get_model_config(self.name)
        return (await self._client.get_model_config(self.name, as_json=True))["config"]

    async def _infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tensors = request_tensors(self.protocol, waveforms)
        return scores(await self._client.infer(self.name, **tensors))


def async_failures() -> tuple[type[Exception], ...]:
    known = failures()
    import aiohttp

    return *known, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError
