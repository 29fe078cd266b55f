"""The container's command, and that compose.yaml says the same."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving.container import Container, health_command, server_command

ROOT = Path(__file__).resolve().parents[2]
KEY = "${KWS_TRITON_KEY:?any long random text}"


def configured(*overrides: str) -> Container:
    with initialize_config_dir(CONFIG_DIR):
        return build(compose("serve", ["paths.root=.", *overrides]).container)


def test_the_command_gives_away_as_little_as_it_can() -> None:
    command = configured().command(Path("/repository"), ["kws_onnx"])
    options = command[: command.index("tritonserver") - 1]
    for option in (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=1000:1000",
        "--env=ORT_DISABLE_TELEMETRY=1",
        "--publish=127.0.0.1:8000:8000",
        "--volume=/repository/kws_onnx:/models/kws_onnx:ro",
        "--health-cmd=python3 /health.py 127.0.0.1:8000 kws_onnx",
    ):
        assert option in options
    shared = [option for option in options if option.startswith(("--publish", "--volume"))]
    assert all("=127.0.0.1:" in option or option.endswith(":ro") for option in shared)
    assert {"--model-control-mode=none", "--disable-auto-complete-config"} <= set(command)


def test_every_command_has_a_key_of_its_own() -> None:
    commands = [configured().command(Path("/r"), ["kws_onnx"])[-1] for _ in range(2)]
    assert commands[0] != commands[1]
    assert all(len(command.rpartition("=")[2]) == 32 for command in commands)


def test_the_image_has_the_fixes() -> None:
    release = configured().image.rpartition(":")[2].removesuffix("-py3")
    assert tuple(map(int, release.split("."))) >= (26, 7)


def test_an_action_is_print_or_run() -> None:
    with pytest.raises(KwsError, match="container.action must be one of print, run, got jump"):
        configured("container.action=jump")


def test_compose_says_the_same() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    triton, container = services["triton"], configured()
    assert triton["image"] == container.image
    assert triton["command"] == server_command(KEY)
    assert triton["healthcheck"]["test"] == ["CMD", *health_command(["kws_onnx"])]
    assert triton["user"] == container.user
    for service in services.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["healthcheck"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for volume in triton["volumes"]:
        outside, _, right = volume.split(":")
        assert (ROOT / outside).exists() and right == "ro"
