"""Serves the files of a site on this machine alone."""

import logging
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import KwsError

HOST = "127.0.0.1"
# A browser refuses WebAssembly and modules of other types.
TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".onnx": "application/octet-stream"}
# The page's own <meta> says the same to any static host, but for the last part, which only a header can.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # the browser asks whether a file is still the same
}

LOG = logging.getLogger(__name__)


class SiteHandler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        LOG.debug(format, *values)


def serve_site(folder: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the files of a folder on the loopback address until Ctrl-C.

    Args:
        port: 0 takes a free one.
        on_ready: told the address.

    Raises:
        KwsError: the port is in use.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(SiteHandler, directory=str(folder)))
    except OSError as error:
        raise KwsError(
            f"port {port} cannot be used ({error.strerror}): give another port="
        ) from None
    with server:
        on_ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()
