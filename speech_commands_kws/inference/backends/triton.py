"""A model behind a Triton server, by HTTP or gRPC: a client for applications, and the engine of `kws infer`.

    from speech_commands_kws.inference.backends.triton import TritonClient
    with TritonClient("127.0.0.1:8000") as client:
        probabilities, logits = client.infer(waveforms)

Legend: B batch, T samples, K keywords.
"""

import time
from collections.abc import Callable
from functools import partial
from threading import local
from typing import Any

import numpy as np

from speech_commands_kws.inference.backends.batches import in_batches
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
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES

MODEL_NAME = "kws_onnx"
TIMEOUT_SECONDS = 5.0
RETRIES = 4
WAIT_SECONDS = 0.1


class TritonClient:
    """A client of a Triton server. May be shared by threads.

    Args:
        url: host:port of the server; None: this machine, at the protocol's usual port.
        name: of the model.
        protocol: http or grpc.
        timeout_seconds: for one answer.
        retries: further tries after a 503 or a lost connection.
        wait_seconds: before the first of them, then doubled.

    Attributes:
        served: what the server says about the model, asked once.

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
        self.protocol = checked_protocol(protocol)
        self.url = checked_url(url, protocol)
        self.name = name
        self.retry_policy = RetryPolicy(timeout_seconds, retries, wait_seconds)
        # The HTTP client of tritonclient serves one thread only.
        self._of_this_thread = local()
        self.served = ServedModel.from_config(self._persistently(self._config), self._source)

    def __enter__(self) -> "TritonClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection of this thread; those of other threads end with them."""
        client = vars(self._of_this_thread).pop("client", None)
        if client is not None:
            client.close()

    def infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score clips by one request.

        Shape:
            - waveforms: float32 `(B, T)`, B at most `served.max_batch_size`
            - probabilities, logits: float32 `(B, K)`

        Raises:
            KwsError: the clips are not fit to be sent, or the server gives no answer.
        """
        self.served.check(waveforms)
        return self._persistently(partial(self._infer, waveforms))

    def is_healthy(self) -> bool:
        """Whether the server answers one clip of silence; asked once, since "ready" is no proof of it."""
        silence = np.zeros((1, self.served.info.clip_samples), np.float32)
        try:
            probabilities, _ = self._in_time(partial(self._infer, silence))
        except failures():
            return False
        return bool(np.isfinite(probabilities).all())

    @property
    def _source(self) -> str:
        return f"the model {self.name} at {self.url}"

    def _persistently(self, request: Callable[[], Any]) -> Any:
        waits = self.retry_policy.waits()
        while True:
            try:
                return self._in_time(request)
            except failures() as error:
                self.close()
                wait = next(waits, None)
                if wait is None or not is_worth_another_try(error):
                    raise explained(error, self.url, self.name, self.retry_policy) from error
            time.sleep(wait)

    def _in_time(self, request: Callable[[], Any]) -> Any:
        """Of HTTP tritonclient bounds each read by itself, so that an answer could come a byte at a time."""
        if self.protocol != HTTP:
            return request()
        from gevent import Timeout

        with Timeout(self.retry_policy.timeout_seconds, TimeoutError()):
            return request()

    def _client(self) -> Any:
        if not hasattr(self._of_this_thread, "client"):
            self._of_this_thread.client = self._connect()
        return self._of_this_thread.client

    def _connect(self) -> Any:
        # Here and not above: a process that uses another engine need not have this one.
        if self.protocol == HTTP:
            from tritonclient import http

            seconds = self.retry_policy.timeout_seconds
            return http.InferenceServerClient(
                self.url, connection_timeout=seconds, network_timeout=seconds
            )
        from tritonclient import grpc

        return grpc.InferenceServerClient(self.url)

    def _config(self) -> dict[str, Any]:
        if self.protocol == HTTP:
            return self._client().get_model_config(self.name)
        answer = self._client().get_model_config(
            self.name, as_json=True, client_timeout=self.retry_policy.timeout_seconds
        )
        return answer["config"]

    def _infer(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tensors = request_tensors(self.protocol, waveforms)
        timeout = (
            {} if self.protocol == HTTP else {"client_timeout": self.retry_policy.timeout_seconds}
        )
        return scores(self._client().infer(self.name, **tensors, **timeout))


class TritonBackend:
    """The engine of a `KeywordSpotter` whose model runs on a server.

    Args:
        model: the name of the model on the server; the others are those of `TritonClient`.

    Attributes:
        info: what the server says about the model.
    """

    is_server = True
    suffix = None

    def __init__(self, model: str, **settings: Any) -> None:
        self.client = TritonClient(name=str(model), **settings)
        self.info = self.client.served.info

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score any number of clips, as many at once as the server takes.

        Shape:
            - waveforms: float32 `(B, T)` with `T = info.clip_samples`
            - probabilities, logits: float32 `(B, K)`
        """
        return in_batches(self.client.infer, waveforms, self.client.served.max_batch_size)


def request_tensors(protocol: str, waveforms: np.ndarray) -> dict[str, list[Any]]:
    """The arguments `inputs` and `outputs` of a request, as binary tensors."""
    if protocol == HTTP:
        from tritonclient import http as client
    else:
        from tritonclient import grpc as client

    waveform = client.InferInput(INPUT, list(waveforms.shape), "FP32")
    waveform.set_data_from_numpy(waveforms)
    return {
        "inputs": [waveform],
        "outputs": [client.InferRequestedOutput(name) for name in (PROBABILITIES, LOGITS)],
    }


def scores(result: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and logits `(B, K)` out of an answer."""
    return result.as_numpy(PROBABILITIES), result.as_numpy(LOGITS)
