"""The server's environment: what it takes, and what is refused."""

import re
import tomllib
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving import environment as environment_module
from speech_commands_kws.serving.environment import (
    READY_FILE,
    REQUIREMENTS,
    ServerEnvironment,
    is_ready,
    prepared,
)

ROOT = Path(__file__).resolve().parents[2]


def test_the_server_runs_the_onnxruntime_that_the_project_locks() -> None:
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", REQUIREMENTS.read_text(), re.MULTILINE))
    lock = tomllib.loads((ROOT / "poetry.lock").read_text())
    locked = {package["name"]: package["version"] for package in lock["package"]}
    assert pinned["onnxruntime"] == locked["onnxruntime"]
    assert pinned["numpy"].startswith("1.")


def test_other_requirements_make_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = ServerEnvironment(tmp_path)
    assert not is_ready(environment)
    (tmp_path / READY_FILE).write_text(environment_module._requirement())
    assert is_ready(environment)
    changed = tmp_path / "requirements.txt"
    changed.write_text("numpy==1.26.3\n")
    monkeypatch.setattr(environment_module, "REQUIREMENTS", changed)
    assert not is_ready(environment)


def test_a_machine_that_cannot_run_it_is_told_what_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module.platform, "machine", lambda: "aarch64")
    with pytest.raises(KwsError, match="Linux x86_64, this is .* aarch64: use mode=container"):
        prepared(tmp_path / "triton")


def test_what_pip_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KwsError, match="cannot install x for the server: not to be had"):
        environment_module._run(
            "install x", "sh", "-c", "echo a lot; echo not to be had >&2; false"
        )
