"""The embedded Triton server: one process group on 127.0.0.1, started, reloaded and stopped."""

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speech_commands_kws.errors import KwsError, check_positive, check_whole
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.inference.backends.triton_requests import HIGHEST_PORT
from speech_commands_kws.serving.environment import ServerEnvironment, prepared
from speech_commands_kws.serving.guard import Guard
from speech_commands_kws.serving.health import SocketConnection
from speech_commands_kws.serving.watcher import SHARED_MEMORY

# Never another: the Python backend of this release has vulnerabilities that let a caller run code.
ADDRESS = "127.0.0.1"
# Interfaces that clients do not need: they ask for a key.
RESTRICTED = "model-repository,shared-memory,trace,logging"
# No request can have a header of such a name: everybody reads the key in the command line, which opens nothing.
CLOSED = "NO CLIENT"
KEY_BYTES = 16
PROCESSES = Path("/proc")
FAILED = "ZT"  # the states of a process that has ended, and of one that was stopped
WATCHER = Path(__file__).with_name("watcher.py")
LOG_TAIL = 5
ANSWERED = "nv_inference_request_success{"  # a line of its metrics
NO_FAULT = "CudaDriverHelper"  # it looks for a GPU


@dataclass
class TritonServer:
    """A `tritonserver` process that serves some models of a repository.

    Attributes:
        environment: the folder of its environment, which is made where it is not there.
        http_port, grpc_port, metrics_port: on this machine's own address.
        log_file: what the server says.
        log_verbose: 1 also logs every request, those that are refused with the reason.
        http_threads: requests that HTTP takes at once.
        body_bytes: most that a request by HTTP may have.
        body_seconds: how long it may take to come.
        exit_seconds: how long it may take to end.
        reload_seconds: how long loading a new version may take.
    """

    environment: str
    http_port: int
    grpc_port: int
    metrics_port: int
    log_file: str
    log_verbose: int
    http_threads: int
    body_bytes: int
    body_seconds: float
    exit_seconds: int
    reload_seconds: float
    process: subprocess.Popen | None = field(default=None, init=False)
    guard: Guard | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_whole(1, HIGHEST_PORT, http_port=self.http_port, grpc_port=self.grpc_port)
        check_whole(1, HIGHEST_PORT, metrics_port=self.metrics_port)
        check_whole(body_bytes=self.body_bytes)
        check_positive(body_seconds=self.body_seconds)
        self.folder = Path()
        self.log_start = 0
        self.memory_prefix = f"kws_{os.getpid()}_{self.http_port}_"

    @property
    def http_url(self) -> str:
        return f"{ADDRESS}:{self.http_port}"

    @property
    def http_socket(self) -> Path:
        """Of Triton's own HTTP, in a folder that only this user may enter."""
        return self.folder / "http"

    @property
    def grpc_url(self) -> str:
        return f"{ADDRESS}:{self.grpc_port}"

    def check_ports(self) -> None:
        """Raises KwsError where another program, perhaps a server of ours, has one of the ports."""
        ports = (self.grpc_port, self.metrics_port)
        for port in ports if self.guard else (self.http_port, *ports):
            check_port(port)

    def start(self, repository: Path, names: Sequence[str]) -> None:
        """Start the process; it is not ready yet.

        Raises:
            KwsError: a port is taken, or the environment cannot be made.
        """
        environment = prepared(self.environment)
        self.check_ports()
        if self.guard is None:
            self.folder = Path(tempfile.mkdtemp(prefix=self.memory_prefix))
            self.guard = Guard(
                *(ADDRESS, self.http_port, self.http_socket),
                *(self.body_bytes, self.body_seconds),
            )
        log = Path(self.log_file)
        with written_to(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            stream = log.open("ab")
        with stream:
            self.log_start = stream.tell()
            self.process = subprocess.Popen(
                [
                    *(environment.python, "-I", WATCHER),
                    *(str(self.exit_seconds), self.memory_prefix, self.folder),
                    *self.command(environment, repository, names),
                ],
                env=os.environ | environment.variables(os.environ.get("PATH", os.defpath)),
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def command(
        self, environment: ServerEnvironment, repository: Path, names: Sequence[str]
    ) -> list[str]:
        return [
            str(environment.tritonserver),
            f"--model-repository={repository.absolute()}",
            f"--backend-directory={environment.backends}",
            f"--cache-directory={environment.caches}",
            f"--http-address=unix:{self.http_socket}",
            *(f"--{kind}-address={ADDRESS}" for kind in ("grpc", "metrics")),
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            f"--http-thread-count={self.http_threads}",
            "--allow-gpu-metrics=false",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in names),
            "--disable-auto-complete-config",
            f"--grpc-restricted-protocol={RESTRICTED}:{CLOSED}={secrets.token_hex(KEY_BYTES)}",
            f"--backend-config=python,shm-region-prefix-name={self.memory_prefix}",
            f"--log-verbose={self.log_verbose}",
            f"--exit-timeout-secs={self.exit_seconds}",
        ]

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def worker_failed(self) -> bool:
        """Whether a process of the server has ended or was stopped: Triton does not notice where it is a backend's."""
        own = str(self.process.pid) if self.process else ""
        for path in PROCESSES.glob("[0-9]*/stat"):
            try:
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue  # it has ended meanwhile
            if group == own and state in FAILED:
                return True
        return False

    def answered(self) -> float:
        """How many requests it has answered since its start; 0 where it does not say."""
        url = f"http://{ADDRESS}:{self.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=self.reload_seconds) as page:
                lines = page.read().decode(errors="replace").splitlines()
        except (OSError, http.client.HTTPException):
            return 0
        return sum(float(line.split()[-1]) for line in lines if line.startswith(ANSWERED))

    def reload(self, name: str) -> str | None:
        """Load what the repository holds now, while the present version answers on; returns why that failed."""
        connection = SocketConnection(str(self.http_socket), self.reload_seconds)
        try:
            connection.request("POST", f"/v2/repository/models/{name}/load")
            answer = connection.getresponse()
            content = answer.read().decode(errors="replace")
            return None if answer.status == http.client.OK else content
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server and all that it has started; what it was asked before is answered first."""
        if self.process is not None:
            self.process.stdin.close()  # see watcher.py
            try:
                self.process.wait(self.exit_seconds + 1)
            except subprocess.TimeoutExpired:
                pass
            self.kill()
        if self.guard is not None:
            self.guard.close()
            self.guard = None
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once: nothing of it stays, neither processes nor shared memory."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has ended
        self.process.wait()
        self.process.stdin.close()
        self.process = None
        self.http_socket.unlink(missing_ok=True)
        for region in SHARED_MEMORY.glob(f"{self.memory_prefix}*"):
            region.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """The end of the server's log since its start, in one line; only the errors where there are any."""
        said = Path(self.log_file).read_bytes()[self.log_start :]
        lines = said.decode(errors="replace").splitlines()
        lines = [line for line in lines if NO_FAULT not in line]
        errors = [line for line in lines if line.startswith("E") or "error" in line.lower()]
        return " | ".join((errors or lines)[-LOG_TAIL:])


def check_port(port: int) -> None:
    """Raises KwsError where a port is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            raise KwsError(
                f"port {port} of {ADDRESS} cannot be had ({error}): choose others with "
                "server.http_port=, server.grpc_port= and server.metrics_port="
            ) from None
