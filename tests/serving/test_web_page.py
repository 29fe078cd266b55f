"""The server of the page."""

import socket
import threading
import urllib.error
import urllib.request

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving.web_page import serve_site


@pytest.fixture
def address(tmp_path):
    for name in ("index.html", "main.js", "a.wasm", "model.onnx"):
        (tmp_path / name).write_text(name)
    found, ready = [], threading.Event()

    def keep(address: str) -> None:
        found.append(address)
        ready.set()

    threading.Thread(target=serve_site, args=(tmp_path, 0, keep), daemon=True).start()
    assert ready.wait(30)
    return found[0]


def test_files_have_the_types_and_the_policy_that_browsers_ask_for(address):
    assert address.startswith("http://127.0.0.1:")
    types = {}
    for name in ("", "main.js", "a.wasm", "model.onnx"):
        with urllib.request.urlopen(address + name) as answer:
            types[name] = answer.headers["Content-Type"]
            policy = answer.headers["Content-Security-Policy"]
            assert answer.read().decode() == name or name == ""
            assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in policy
            assert "unsafe-inline" not in policy and "http" not in policy
    assert types == {
        "": "text/html",
        "main.js": "text/javascript",
        "a.wasm": "application/wasm",
        "model.onnx": "application/octet-stream",
    }


def test_nothing_outside_of_the_folder_is_served(address):
    for path in ("../pyproject.toml", "%2e%2e/%2e%2e/etc/passwd", "nothing"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)


def test_a_port_in_use_is_one_clear_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KwsError, match=f"port {port} cannot be used .*: give another port="):
            serve_site(tmp_path, port, print)
