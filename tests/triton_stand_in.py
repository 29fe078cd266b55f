"""A web server that answers like Triton, in the way that a test prescribes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np

from speech_commands_kws.inference.model_info import ModelInfo

HEADER_LENGTH = "Inference-Header-Content-Length"
LABELS = ("yes", "no", "_unknown_")
INFO = ModelInfo(LABELS, 8000, 400, {}, {})
ANSWER, SLOW, LOST, DRIP, NONSENSE, GRPC = 200, 0, -1, -2, -3, -4


class StandIn:
    """A server.

    Attributes:
        script: the next answers to inferences (a status, or one of the others above), then ANSWER.
        asked: how many.
        version: that answers.
        versions: what is served, by version.
        described: the versions that it was asked to describe; none is the newest.
    """

    def __init__(self, port: int) -> None:
        self.url = f"127.0.0.1:{port}"
        self.script: list[int] = []
        self.asked = 0
        self.version = "1"
        self.versions = {"1": INFO}
        self.described: list[str] = []
        self.probabilities = np.array([[0.5, 0.25, 0.25]], np.float32)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            version = self.path.partition("/versions/")[2].partition("/")[0]
            state.described.append(version)
            info = state.versions.get(version or state.version)
            if info is None:
                self.reply(400, {"error": f"no version {version}"})
                return
            parameters = {key: {"string_value": value} for key, value in info.to_metadata().items()}
            # As the configuration of a model has it, and as its metadata.
            tensor = {"name": "waveform", "dims": [INFO.clip_samples]}
            tensor["shape"] = [-1, *tensor["dims"]]
            facts = {"max_batch_size": 4, "parameters": parameters}
            self.reply(200, facts | {"input": [tensor], "inputs": [tensor]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.asked += 1
            status = state.script.pop(0) if state.script else ANSWER
            if status == LOST:
                self.close_connection = True
                return
            if status == NONSENSE:
                self.send(200, b"<html>hello</html>", {HEADER_LENGTH: "9"})
                return
            if status == GRPC:
                self.wfile.write(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\r\n")
                self.close_connection = True
                return
            if status == DRIP:
                self.send(200, b"", {"Content-Length": "1000"})
                for _ in range(600):  # until the client has gone
                    time.sleep(0.1)
                    self.wfile.write(b" ")
                return
            if status == SLOW:
                time.sleep(1)
            elif status != ANSWER:
                self.reply(status, {"error": "as the test prescribes"})
                return
            if HEADER_LENGTH in self.headers:
                self.answer_in_binary()
                return
            data = [float(value) for value in state.probabilities.flat]
            self.reply(200, {"outputs": [{"name": "probabilities", "data": data}]})

        def answer_in_binary(self) -> None:
            content = state.probabilities.tobytes()
            outputs = [
                {
                    "name": name,
                    "datatype": "FP32",
                    "shape": list(state.probabilities.shape),
                    "parameters": {"binary_data_size": len(content)},
                }
                for name in ("probabilities", "logits")
            ]
            answer = {"model_name": "kws_onnx", "model_version": state.version, "outputs": outputs}
            header = json.dumps(answer).encode()
            self.send(200, header + 2 * content, {HEADER_LENGTH: str(len(header))})

        def reply(self, status: int, content: dict) -> None:
            self.send(status, json.dumps(content).encode(), {})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone is part of some tests."""

    server = Server(("127.0.0.1", 0), Handler)
    state = StandIn(server.server_address[1])
    Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()
