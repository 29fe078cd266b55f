"""Real MLflow servers for tests, which can be killed, halted and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from speech_commands_kws.tracking.mlflow_store import server_command, sqlite_uri

START_SECONDS = 180


def free_address() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Server:
    """A server on the store in a folder, started by the command that a run without one prints."""

    def __init__(self, store: Path):
        self.address = free_address()
        self.command = server_command(sqlite_uri(store / "mlflow.db"), self.address)
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Unless it runs; returns when it answers."""
        if self.process:
            return
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            self.command, shell=True, start_new_session=True, env=os.environ | {"PATH": path}
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended"
            try:
                with urlopen(f"{self.address}/health", timeout=5) as answer:
                    assert answer.read() == b"OK"
                return
            except (URLError, ConnectionError):
                time.sleep(0.2)
        raise AssertionError("the server did not start in time")

    def kill(self) -> None:
        if self.process:
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def halt(self) -> None:
        """It takes connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)
