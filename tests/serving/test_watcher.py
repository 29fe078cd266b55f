"""What ends with the program that started it; tests/test_serve.py kills that while a real server starts."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from speech_commands_kws.serving import watcher

NEVER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def watched(folder: Path, program: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            watcher.__file__,
            "0.2",
            "kws_test_",
            folder,
            sys.executable,
            "-c",
            program,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("program", ["import time; print('up', flush=True); time.sleep(60)", NEVER])
def test_the_server_ends_with_the_pipe(tmp_path: Path, program: str) -> None:
    folder = tmp_path / "socket"
    folder.mkdir()
    with watched(folder, program) as process:
        assert process.stdout.readline() == b"up\n"
        begin = time.monotonic()
        process.stdin.close()
        assert process.stdout.read() == b""  # nobody has it open any more
    assert time.monotonic() - begin < 10 and not folder.exists()


def test_what_the_server_has_started_ends_with_it(tmp_path: Path) -> None:
    child = "import subprocess; subprocess.Popen(['sleep', '60'])"
    with watched(tmp_path, child) as process:
        assert process.stdout.read() == b""
    assert tmp_path.exists()  # it may be started again
