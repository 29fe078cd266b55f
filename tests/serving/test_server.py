"""How Triton's process is started; tests/test_serve.py has the real one."""

import socket
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving.environment import ServerEnvironment
from speech_commands_kws.serving.server import TritonServer, check_port


def configured(folder: Path, *overrides: str) -> TritonServer:
    with initialize_config_dir(CONFIG_DIR):
        return build(compose("serve", [f"paths.root={folder}", *overrides]).server)


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(KwsError, match=f"port {port} .*server.http_port="):
            check_port(port)
    check_port(port)


def test_the_reason_of_an_end_is_not_that_there_is_no_gpu(tmp_path: Path) -> None:
    server = configured(tmp_path)
    log = Path(server.log_file)
    log.parent.mkdir(parents=True)
    log.write_text('E1 "CudaDriverHelper has not been initialized."\nI1 fine\nE2 "the reason"\n')
    assert server.log_tail() == 'E2 "the reason"'


def test_the_server_is_this_machines_alone_and_guards_what_is_not_for_clients(
    tmp_path: Path,
) -> None:
    server = configured(tmp_path)
    command = server.command(ServerEnvironment(tmp_path), tmp_path, ["kws_onnx"])
    for kind in ("grpc", "metrics"):
        assert f"--{kind}-address=127.0.0.1" in command
    assert f"--http-address=unix:{server.http_socket}" in command  # which the guard stands before
    closed = "--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:NO CLIENT="
    assert any(word.startswith(closed) for word in command)
    assert "--load-model=kws_onnx" in command
