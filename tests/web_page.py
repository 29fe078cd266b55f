"""The page in `web/`: what its sources answer under node, and what it does in a browser."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from speech_commands_kws.packaging.web_page import INDEX, PAGE, write_site
from speech_commands_kws.serving.web_page import SiteHandler

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
TSX = WEB / "node_modules" / ".bin" / "tsx"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
]
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def page_is_new() -> bool:
    """Whether the page is built of the sources as they are."""
    sources = [*(WEB / "src").iterdir(), WEB / "index.html"]
    built = PAGE / INDEX
    return built.is_file() and built.stat().st_mtime > max(path.stat().st_mtime for path in sources)


NEEDS_NODE = pytest.mark.skipif(
    not TSX.exists() or not shutil.which("node"),
    reason="needs node, and web/node_modules: make web",
)
NEEDS_BROWSER = pytest.mark.skipif(
    not CHROMIUM or not TSX.exists() or not page_is_new(),
    reason="needs Chromium, and the page built of its sources: apt install chromium; make web",
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


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a site, served as by `kws demo`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SiteHandler, directory=str(folder)))
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
    write_site(folder, models)
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
