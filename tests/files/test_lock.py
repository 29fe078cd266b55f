"""One process at a time, and a dead one holds nobody up."""

import subprocess
import sys
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.lock import locked

HOLDER = (
    "import sys, time; from pathlib import Path; from speech_commands_kws.files.lock import locked\n"
    "path, told = map(Path, sys.argv[1:])\n"
    "with locked(path, 'holding'):\n"
    "    print('held', flush=True)\n"
    "    while not told.exists(): time.sleep(0.01)\n"
    "    time.sleep(0.3); told.unlink()"
)


def hold(path: Path, told: Path) -> subprocess.Popen:
    """A process with the lock, which a while after `told` is there removes that and lets the lock go."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path, told], stdout=subprocess.PIPE)
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_second_process_waits_and_says_so(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    holder = hold(tmp_path / "lock", told)
    with locked(tmp_path / "lock", "fetching clips"):
        assert not told.exists(), "the other process still had the lock"
    assert caplog.messages == ["another process is fetching clips: waiting for it"]
    assert holder.wait() == 0


def test_a_killed_process_holds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holder = hold(tmp_path / "lock", tmp_path / "never")
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", "fetching clips"):
        assert caplog.messages == []


def test_a_place_that_takes_no_lock_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(KwsError, match="cannot write .*link/lock .File exists.: choose another"):
        with locked(tmp_path / "link" / "lock", "fetching clips"):
            pass
