"""`kws doctor` as it is typed."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from speech_commands_kws import doctor
from speech_commands_kws.assembly.checkup import BROKEN, MISSING, OK, Line
from speech_commands_kws.commands import main as kws

ROOT = Path(__file__).resolve().parent.parent
FINE = Line("soundfile", OK, "0.14")
OPTIONAL = Line("gpu", MISSING, "no\x1b[31m driver", "install it")
WRONG = Line("numpy", BROKEN, "1.26", "reinstall it")


@pytest.fixture
def asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `kws doctor` where the checks find these lines: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(lines: list[Line], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(doctor, "check_up", lambda _: iter(lines))
        monkeypatch.setattr(sys, "argv", ["kws", "doctor", *arguments])
        try:
            status = kws()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_the_status_is_1_only_where_something_is_broken(asked: Callable) -> None:
    status, output, complaints = asked([FINE, OPTIONAL])
    assert (status, complaints) == (0, "")
    assert "soundfile  ok       0.14" in output
    assert r"no\x1b[31m driver: install it" in output
    assert output.endswith("0 broken, 1 missing, which are optional.\n")
    status, output, complaints = asked([FINE, OPTIONAL, WRONG])
    assert (status, complaints) == (1, "")
    assert output.endswith("1 broken, 1 missing, which are optional.\n")


def test_json_has_every_line(asked: Callable) -> None:
    status, output, complaints = asked([FINE, WRONG], "format=json")
    assert (status, complaints) == (1, "")
    assert json.loads(output) == [
        {"name": "soundfile", "status": "ok", "detail": "0.14", "cure": ""},
        {"name": "numpy", "status": "broken", "detail": "1.26", "cure": "reinstall it"},
    ]


@pytest.mark.parametrize("setting", ["format=csv", "wait_seconds=0", "least_free_gb=-1"])
def test_a_wrong_setting_is_one_line(asked: Callable, setting: str) -> None:
    status, output, complaints = asked([FINE], setting)
    assert (status, output) == (1, "") and complaints.startswith(
        f"error: {setting.split('=')[0]} must be"
    )


def test_help_tells_the_status(asked: Callable) -> None:
    status, output, _ = asked([], "--help")
    assert status == 0 and "status 1 where something is broken" in output


def test_nothing_private_is_in_the_json_and_the_base_dependencies_do(tmp_path: Path) -> None:
    """Where those fail too that a model needs, each has its line."""
    home = tmp_path / "secret_home"
    (home / "project").mkdir(parents=True)
    barred = "torch lightning mlflow dvc librosa tritonclient aiohttp wyoming numpy soundfile onnxruntime".split()
    program = f"import sys; sys.modules |= dict.fromkeys({barred})"
    program += "; from speech_commands_kws.doctor import main; main()"
    private = {
        "HOME": str(home),
        "USER": "mallory",
        "LOGNAME": "mallory",
        "MLFLOW_TRACKING_URI": "http://mallory:hunter2@127.0.0.1:9",
        "KWS_TOKEN": "swordfish",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, "format=json", "paths.data=/scratch/mallory"],
        cwd=home / "project",
        env=os.environ | private | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    # Hydra warns of a plugin that cannot be loaded.
    assert done.returncode == 1 and "Traceback" not in done.stderr
    statuses = {line["name"]: line["status"] for line in json.loads(done.stdout)}
    assert {name for name, status in statuses.items() if status == BROKEN} >= {
        *("soundfile", "onnxruntime", "espeak-ng", "browser page", "triton"),
    }
    assert statuses["base packages"] == statuses["processor"] == statuses["runs folder"] == OK
    assert "~/project/plots/runs" in done.stdout and "OMP_NUM_THREADS=1" in done.stdout
    for secret in ("secret_home", "mallory", "hunter2", "swordfish"):
        assert secret not in done.stdout
    assert not re.search(rf"(?<![\w.-]){re.escape(platform.node())}(?![\w.-])", done.stdout)
