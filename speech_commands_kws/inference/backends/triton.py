"""A model behind a Triton server, by HTTP or gRPC: a client for applications, and the engine of `kws infer`.

    from speech_commands_kws.inference.backends.triton import TritonClient
    with TritonClient("127.0.0.1:8000") as client:
        probabilities, logits = client.infer(waveforms)

Legend: B batch, T samples, K keywords.
"""

import asyncio
import weakref
from collections.abc import Coroutine
from concurrent.futures import wait
from functools import cache
from threading import Lock, Thread, current_thread
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.batches import in_batches
from speech_commands_kws.inference.backends.triton_async import MODEL_NAME, AsyncTritonClient
from speech_commands_kws.inference.model_info import INPUT

__all__ = ["TritonClient", "TritonBackend"]

LOOP_THREAD = "Triton"
LOOP_LOCK = Lock()
CLOSE_SECONDS = 1.0
REQUEST_BYTES = 1_000_000  # of a larger one aiohttp warns that it holds the others up


class TritonClient:
    """A client of a Triton server. May be shared by threads, not by processes that fork.

    The arguments, the attribute `served` and the errors are those of `AsyncTritonClient`, which does the work.
    """

    def __init__(self, url: str | None = None, name: str = MODEL_NAME, **settings: Any) -> None:
        self._client = AsyncTritonClient(url, name, **settings)
        self.served = result_of(self._client.open())
        self._closing = weakref.finalize(self, close, self._client)

    def __enter__(self) -> "TritonClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._closing()

    def infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips by one request; see `AsyncTritonClient.infer`."""
        return result_of(self._client.infer(waveforms))

    def step(self, waveform: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the next sound of streams by one request; see `AsyncTritonClient.step`."""
        return result_of(self._client.step(waveform, state))

    def is_healthy(self) -> bool:
        """Whether the server answers one clip of silence; asked once, since "ready" is no proof of it."""
        return result_of(self._client.is_healthy())


class TritonBackend:
    """The engine of a `KeywordSpotter` or a `StreamingModel` whose model runs on a server.

    Args:
        model: the name of the model on the server.
        **settings: those of `TritonClient`.

    Attributes:
        info: what the server says about the model.
        call_samples: of a stream, in each request.
    """

    is_server = True
    suffix = None

    def __init__(self, model: str, **settings: Any) -> None:
        self.client = TritonClient(name=str(model), **settings)
        self.info = self.client.served.info
        self.call_samples = self.client.served.shapes[INPUT][0]

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score any number of clips, as many at once as the server and a request take.

        Shape:
            - waveforms: float32 `(B, T)` with `T = info.clip_samples`
            - probabilities, logits: float32 `(B, K)`
        """
        fitting = max(1, REQUEST_BYTES // waveforms[:1].nbytes)
        return in_batches(
            self.client.infer, waveforms, min(fitting, self.client.served.max_batch_size)
        )

    def step(
        self, waveform: np.ndarray, state: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Score the next sound (B, T) of streams, in as many requests as it takes.

        What fills no request is the end of the streams: no state follows it.

        Raises:
            KwsError: as `AsyncTritonClient.step`, or the streams have ended.
        """
        if state is None:
            raise KwsError("this stream has ended with the call before, which had less sound")
        n_samples, size = waveform.shape[1], self.call_samples
        missing = -n_samples % size
        # What follows changes nothing about the answers for the frames before.
        whole = np.pad(waveform, ((0, 0), (0, missing)))
        parts = []
        for sound in np.split(whole, range(size, n_samples, size), axis=1):
            rows, state = self.client.step(sound, state)
            parts.append(rows)
        probabilities = np.concatenate(parts, axis=1)
        n_frames = probabilities.shape[1] * n_samples // whole.shape[1]
        return probabilities[:, :n_frames], None if missing else state


def background_loop() -> asyncio.AbstractEventLoop:
    """The event loop of all clients of this process, in a thread: gRPC takes no second one."""
    with LOOP_LOCK:  # threads may make their first clients at once
        return _new_loop()


@cache
def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name=LOOP_THREAD, daemon=True).start()
    return loop


def result_of(request: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(request, background_loop()).result()


def close(client: AsyncTritonClient) -> None:
    """Close its connections; where the garbage collector asks, it may do so in any thread, and holding any lock."""
    closing = asyncio.run_coroutine_threadsafe(client.close(), background_loop())
    if current_thread().name != LOOP_THREAD:  # which must not wait for itself
        wait([closing], CLOSE_SECONDS)
