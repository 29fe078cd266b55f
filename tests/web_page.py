"""The page in `web/`: what its sources answer under node, and what it does in a browser."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
WEB, PAGE = ROOT / "web", ROOT / "speech_commands_kws" / "page"
TSX = WEB / "node_modules" / ".bin" / "tsx"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
]
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

NEEDS_NODE = pytest.mark.skipif(
    not TSX.exists() or not shutil.which("node"),
    reason="needs node, and web/node_modules: make web",
)
NEEDS_BROWSER = pytest.mark.skipif(
    not CHROMIUM or not (PAGE / "index.html").exists() or not TSX.exists(),
    reason="needs Chromium and the built page: apt install chromium; make web",
)


def answer_of(what: str, **task: Any) -> Any:
    """Of web/tests/answers.ts; arrays become lists."""
    plain = {
        key: np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
        for key, value in task.items()
    }
    done = subprocess.run(
        [TSX, "tests/answers.ts"],
        cwd=WEB,
        input=json.dumps({"what": what, "pieces": [], **plain}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Visit:
    """What came of the steps, which addresses were asked for, and what the browser complained about."""

    value: Any
    requests: list[str]
    complaints: list[str]


def make_site(folder: Path, *models: Path) -> Path:
    """The built page with models."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    entries = []
    for model in models:
        shutil.copy(model, folder / model.name)
        entries.append({"file": model.name, "name": model.name, "card": None})
    (folder / "models.json").write_text(json.dumps({"models": entries}))
    return folder


def visit(
    address: str,
    steps: str,
    flags: list[str] = MICROPHONE,
    facts: Any = None,
    timeout: float = 180,
    **options: Any,
) -> Visit:
    """Open the page and do the steps, the body of an asynchronous JavaScript function; see web/tests/drive.mjs."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        task = {
            "address": address,
            "chromium": CHROMIUM,
            "profile": profile,
            "flags": FLAGS + flags,
            "options": options,
            "steps": steps,
            "facts": facts,
        }
        done = subprocess.run(
            ["node", "tests/drive.mjs"],
            cwd=WEB,
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    assert done.returncode == 0, done.stderr
    return Visit(**json.loads(done.stdout))
