"""The environment of the embedded Triton server: made once from pinned requirements, apart from this program's own.

The wheel `nvidia-pytriton` carries a `tritonserver` with its python backend. It needs NumPy 1, this program NumPy 2.
"""

import platform
import shutil
import subprocess
import sys
import sysconfig
from ctypes.util import find_library
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import write_whole, written_to
from speech_commands_kws.files.lock import locked
from speech_commands_kws.inference.backends.onnx import NO_TELEMETRY

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
BACKEND = Path(__file__).with_name("onnxruntime_backend.py")
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBPYTHON = f"libpython{PYTHON_VERSION}.so.1.0"
STUB = "triton_python_backend_stub"
READY_FILE = "ready"
EXECUTABLE = 0o755


@dataclass(frozen=True)
class ServerEnvironment:
    """An environment that is there.

    Attributes:
        folder: which holds it all.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        return self.folder / "lib" / f"python{PYTHON_VERSION}" / "site-packages"

    @property
    def wheel(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def tritonserver(self) -> Path:
        return self.wheel / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        return self.folder / "triton" / "backends"

    @property
    def caches(self) -> Path:
        return self.folder / "triton" / "caches"

    def variables(self, path: str) -> dict[str, str]:
        """Environment variables of the server: its own libraries, then those of this Python."""
        libraries = (
            self.site_packages / "nvidia_pytriton.libs",
            sysconfig.get_config_var("LIBDIR"),
        )
        return {
            "PATH": f"{self.python.parent}:{path}",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "VIRTUAL_ENV": str(self.folder),
            "PYTHONNOUSERSITE": "1",
            NO_TELEMETRY: "1",
        }


def prepared(folder: str | Path) -> ServerEnvironment:
    """The environment in a folder, created if it is missing or outdated.

    Raises:
        KwsError: this machine cannot run the server, or a package cannot be installed.
    """
    folder = Path(folder).expanduser().absolute()
    environment = ServerEnvironment(folder)
    with locked(folder.with_name(f"{folder.name}.lock"), "preparing the server's environment"):
        if not is_ready(environment):
            _check_machine()
            _install(environment)
            _assemble(environment)
            write_whole(folder / READY_FILE, _requirement())
    # Always: it belongs to this program, not to what was installed.
    target = environment.backends / "onnxruntime"
    with written_to(target):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BACKEND, target / "model.py")
    return environment


def is_ready(environment: ServerEnvironment) -> bool:
    ready = environment.folder / READY_FILE
    return ready.is_file() and ready.read_text() == _requirement()


def _requirement() -> str:
    text = REQUIREMENTS.read_bytes() + PYTHON_VERSION.encode()
    return sha256(text).hexdigest() + "\n"


def _check_machine() -> None:
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise KwsError(
            f"the embedded server runs on Linux x86_64, this is {machine}: use mode=container"
        )
    is_beside = Path(sysconfig.get_config_var("LIBDIR"), LIBPYTHON).is_file()
    if not is_beside and not find_library(f"python{PYTHON_VERSION}"):
        raise KwsError(
            f"the embedded server needs {LIBPYTHON}, which is not on this machine: install it "
            f"(Debian: libpython{PYTHON_VERSION}), or use mode=container"
        )


def _install(environment: ServerEnvironment) -> None:
    _run("make an environment", sys.executable, "-m", "venv", "--clear", environment.folder)
    pip = (environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run("install its packages", *pip, "--no-deps", "--requirement", REQUIREMENTS)


def _assemble(environment: ServerEnvironment) -> None:
    """The folder of backends: the wheel's own, and the part of it that fits this Python."""
    with written_to(environment.backends):
        shutil.copytree(environment.wheel / "backends", environment.backends)
        shutil.copytree(environment.wheel / "caches", environment.caches)
        stub = environment.backends / "python" / STUB
        shutil.copyfile(environment.wheel / "python_backend_stubs" / PYTHON_VERSION / STUB, stub)
        stub.chmod(EXECUTABLE)


def _run(task: str, *command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
        raise KwsError(f"cannot {task} for the server: {lines[-1]}")
