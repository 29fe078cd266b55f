"""Health check of a Triton server: one inference by HTTP, with the standard library only.

A server whose backend has died goes on to call itself ready, so that only an answer is a proof. In a container it is
the health check: `python3 health.py 127.0.0.1:8000 kws_onnx`.
"""

import http.client
import json
import math
import socket
import sys
from math import prod

OUTPUT = "probabilities"
TIMEOUT_SECONDS = 5.0


def ask(url: str, name: str, timeout_seconds: float) -> list[float]:
    """Probabilities of silence, a clip or the beginning of a stream, from a server at HOST:PORT or at a Unix socket.

    Raises:
        OSError, http.client.HTTPException: no answer.
        ValueError: an answer that is none of a keyword spotter.
    """
    kind = SocketConnection if url.startswith("/") else http.client.HTTPConnection
    connection = kind(url, timeout=timeout_seconds)
    try:
        model = _answer(connection, "GET", f"/v2/models/{name}")
        inputs = [_silence(tensor["name"], tensor["shape"][1:]) for tensor in model["inputs"]]
        request = json.dumps({"inputs": inputs, "outputs": [{"name": OUTPUT}]})
        answer = _answer(connection, "POST", f"/v2/models/{name}/infer", request)
        return answer["outputs"][0]["data"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} is no keyword spotter: {error!r}") from error
    finally:
        connection.close()


class SocketConnection(http.client.HTTPConnection):
    """To a server at the path of a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def fault(url: str, name: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str | None:
    """Why the server is unhealthy; None if it responds."""
    try:
        probabilities = ask(url, name, timeout_seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    if not probabilities or not all(map(math.isfinite, probabilities)):
        return f"{name} answers {probabilities}"
    return None


def _silence(name: str, shape: list[int]) -> dict:
    return {"name": name, "datatype": "FP32", "shape": [1, *shape], "data": [0] * prod(shape)}


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> dict:
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise ValueError(f"{answer.status} {content.decode(errors='replace')}")
    return json.loads(content)


def main() -> None:
    """As a program: exit status 0 if every model responds, otherwise an error."""
    url, *names = sys.argv[1:]
    faults = [reason for name in names if (reason := fault(url, name))]
    if faults or not names:
        raise RuntimeError("; ".join(faults) or "no model to ask for was named")


if __name__ == "__main__":
    main()
