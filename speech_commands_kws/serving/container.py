"""The command that serves a repository by Triton's published container, hardened: what is not needed is not there."""

import os
import secrets
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speech_commands_kws.errors import KwsError, check_choice
from speech_commands_kws.inference.backends.onnx import NO_TELEMETRY
from speech_commands_kws.serving.server import ADDRESS, KEY_BYTES, RESTRICTED

KEY_HEADER = "kws-key"
MODELS = "/models"
PROBE = Path(__file__).with_name("health.py")
PROBE_INSIDE = "/health.py"
HTTP, GRPC, METRICS = 8000, 8001, 8002
ACTIONS = ("print", "run")


@dataclass(frozen=True)
class Container:
    """How the container runs.

    Attributes:
        image: of Triton, with the backends of the models.
        http_port, grpc_port, metrics_port: of this machine's own address, where it can be reached.
        memory, cpus: most that it may use, as docker writes them.
        user: `user:group`, by number, that the server runs as.
        action: print the command, or run it.
    """

    image: str
    http_port: int
    grpc_port: int
    metrics_port: int
    memory: str
    cpus: float
    user: str
    action: str

    def __post_init__(self) -> None:
        check_choice(ACTIONS, action=self.action)

    def run(self, repository: Path, names: Sequence[str]) -> None:
        """Print the command, or replace this process with it."""
        command = self.command(repository, names)
        if self.action == "print":
            print(shlex.join(command))
            return
        if shutil.which(command[0]) is None:
            raise KwsError(f"{command[0]} is not installed: install it, or use mode=embedded")
        os.execvp(command[0], command)

    def command(self, repository: Path, names: Sequence[str]) -> list[str]:
        """`docker run …`: nothing but the models is there to read, nothing to write but /tmp, no way to more rights."""
        ports = {self.http_port: HTTP, self.grpc_port: GRPC, self.metrics_port: METRICS}
        volumes = {repository.absolute() / name: f"{MODELS}/{name}" for name in names}
        volumes[PROBE] = PROBE_INSIDE
        return [
            *("docker", "run", "--rm", "--name=kws-triton"),
            f"--user={self.user}",
            f"--env={NO_TELEMETRY}=1",
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--pids-limit=512",
            f"--memory={self.memory}",
            f"--cpus={self.cpus}",
            *(f"--publish={ADDRESS}:{outside}:{inside}" for outside, inside in ports.items()),
            *(f"--volume={outside}:{inside}:ro" for outside, inside in volumes.items()),
            f"--health-cmd={' '.join(health_command(names))}",
            "--health-interval=10s",
            "--health-timeout=6s",
            "--health-retries=3",
            "--health-start-period=60s",
            self.image,
            *server_command(secrets.token_hex(KEY_BYTES)),
        ]


def health_command(names: Sequence[str]) -> list[str]:
    """The container's health check."""
    return ["python3", PROBE_INSIDE, f"{ADDRESS}:{HTTP}", *names]


def server_command(key: str) -> list[str]:
    """What the container runs: models as they were mounted, and no way to load others.

    Args:
        key: without which nobody uses the interfaces that a client has no business with.
    """
    return [
        "tritonserver",
        f"--model-repository={MODELS}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        f"--http-restricted-api={RESTRICTED}:{KEY_HEADER}={key}",
        f"--grpc-restricted-protocol={RESTRICTED}:{KEY_HEADER}={key}",
    ]
