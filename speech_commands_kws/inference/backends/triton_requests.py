"""What the Triton clients share: which requests may be sent, and which failures are retried.

Legend: B batch, T samples, K keywords.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.model_info import INPUT, STATE, ModelInfo

__all__ = ["ServedModel"]

HTTP = "http"
GRPC = "grpc"
DEFAULT_URLS = {HTTP: "127.0.0.1:8000", GRPC: "127.0.0.1:8001"}
# What Triton says when its queue is full, or a request has waited too long in it; gRPC says the same of a lost
# connection.
OVERLOADED = ("503", "StatusCode.UNAVAILABLE")
NO_SERVER = ("failed to connect", "errors resolving")  # in the words of gRPC
SCHEME_END = "://"
HIGHEST_PORT = 65_535
LONGEST_REASON = 80  # characters of what is no answer


@dataclass(frozen=True)
class ServedModel:
    """A model as its server describes it.

    Attributes:
        info: labels, sample rate and clip length, as the exported file has them.
        max_batch_size: most clips, or streams, in one request.
        shapes: of each input, without the batch.
    """

    info: ModelInfo
    max_batch_size: int
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str) -> "ServedModel":
        """Read Triton's configuration of a model.

        Raises:
            KwsError: the model is not one of our exports.
        """
        values = config.get("parameters", {})
        parameters = {key: value.get("string_value", "") for key, value in values.items()}
        info = ModelInfo.from_metadata(parameters, source)
        shapes = {tensor["name"]: tuple(map(int, tensor["dims"])) for tensor in config["input"]}
        return cls(info, int(config["max_batch_size"]), shapes)

    def order_of(self, version: "ServedModel") -> list[int]:
        """The columns of another version of the model, in the order of the labels of this one.

        Raises:
            KwsError: it takes other clips, or has other labels.
        """

        def what_it_is(info: ModelInfo) -> tuple:
            return sorted(info.labels), info.sample_rate, info.clip_samples

        mine, its = self.info, version.info
        if what_it_is(mine) != what_it_is(its):
            raise KwsError(
                f"the server has loaded a model with other labels ({', '.join(its.labels)}) or other clips than it had "
                "when this client connected: connect again"
            )
        return [its.labels.index(label) for label in mine.labels]

    def check(self, waveforms: np.ndarray) -> None:
        """Reject what the server would reject, and what it would score as nonsense.

        Raises:
            KwsError: not float32 `(B, T)`, too many clips, no clip, or samples that are not finite.
        """
        clip_samples = self.info.clip_samples
        if waveforms.dtype != np.float32 or waveforms.shape[1:] != (clip_samples,):
            raise KwsError(
                f"the model takes float32 clips (B, {clip_samples}), got {waveforms.dtype} {waveforms.shape}"
            )
        self._check_count(len(waveforms), "clips")
        if not np.isfinite(waveforms).all():
            raise KwsError("the sound has samples that are NaN or infinite: nothing was sent")

    def check_step(self, waveform: np.ndarray, state: np.ndarray) -> None:
        """Reject what the server would reject as the next sound and the state of streams.

        Raises:
            KwsError: not float32 of the model's shapes, as many states as waveforms, or too many of them.
        """
        for name, array in {INPUT: waveform, STATE: state}.items():
            expected = (len(waveform), *self.shapes.get(name, ()))
            if array.dtype != np.float32 or array.shape != expected:
                raise KwsError(
                    f"the model takes a {name} of float32 {expected}, got {array.dtype} {array.shape}"
                )
        self._check_count(len(waveform), "streams")

    def _check_count(self, count: int, things: str) -> None:
        if not 0 < count <= self.max_batch_size:
            raise KwsError(
                f"one request takes 1 to {self.max_batch_size} {things}, got {count}: "
                "send them in several"
            )


def checked_address(url: str | None, protocol: str) -> tuple[str, str]:
    """`host:port`, of this machine where none is given, and the protocol, which `http://` or `grpc://` in front names.

    Raises:
        KwsError: it is not of this form.
    """
    given = DEFAULT_URLS[protocol] if url is None else str(url)
    scheme, named, address = given.partition(SCHEME_END)
    if named and scheme in DEFAULT_URLS:
        protocol = scheme
    else:
        address = given
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
        raise KwsError(
            f"url must be host:port, such as {DEFAULT_URLS[protocol]}, with http:// or grpc:// in front if need be, "
            f"got {given}"
        )
    return address, protocol


def is_worth_another_try(error: Exception) -> bool:
    """Whether one of `failures` is a 503, or a connection that was refused or lost; what has timed out is not."""
    is_answer = isinstance(error, TimeoutError) or is_of_another(error)
    return not is_answer and _status(error) in (None, *OVERLOADED)


def failures() -> tuple[type[Exception], ...]:
    """By what a request fails: an answer that is an error or none of Triton's, or a connection that is none."""
    import aiohttp
    from tritonclient.utils import InferenceServerException

    return InferenceServerException, OSError, ValueError, aiohttp.ClientError


def is_of_another(error: Exception) -> bool:
    """Whether the answer is none of Triton's HTTP: other JSON, or another protocol."""
    import aiohttp

    return isinstance(error, (ValueError, aiohttp.ClientResponseError))


def explained(error: Exception, url: str, name: str, timeout_seconds: float) -> KwsError:
    """A failed request as one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        return KwsError(
            f"no answer from {url} within {timeout_seconds:g} s: ask for more with timeout_seconds="
        )
    if is_of_another(error):
        return KwsError(
            f"what answers at {url} is no Triton server ({reason[:LONGEST_REASON]}): give url=HOST:PORT of one; its "
            "gRPC port needs url=grpc://HOST:PORT or backend=triton_grpc"
        )
    if _status(error) is None or any(words in reason for words in NO_SERVER):
        return KwsError(
            f"no Triton server answers at {url} ({reason}): start one with `kws serve`, or give url=HOST:PORT"
        )
    return KwsError(f"the server at {url} did not answer for the model {name}: {reason}")


def _status(error: Exception) -> str | None:
    """The status of an answer of the server; None where there was no answer."""
    status = getattr(error, "status", None)
    return status() if callable(status) else None
