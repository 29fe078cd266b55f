"""A web server on this machine that can fail in the ways of the internet."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """Files by name, and how they are served.

    Attributes:
        drop_after: bytes of an answer after which the connection is lost; None: never.
        drops: how many answers that happens to.
        ranges: whether parts of a file can be had.
        says_length: whether the length of a file is told before it.
        statuses: answered instead of a file, one a request, before all is well.
        pause: seconds between blocks of 1 KiB.
        stalls: after `drop_after` bytes the connection stays open and nothing more comes.
        etag: of every file, by which DVC knows what it is to fetch.
        requests: (path, Range) of each request so far.
    """

    files: dict[str, bytes]
    drop_after: int | None = None
    drops: int = 1
    ranges: bool = True
    says_length: bool = True
    statuses: list[int] = field(default_factory=list)
    pause: float = 0.0
    stalls: float = 0.0
    etag: str = '"tag"'
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.path, wanted))
        content = site.files.get(self.path.strip("/"))
        status = site.statuses.pop(0) if site.statuses else 200 if content is not None else 404
        if status != 200:
            return self.send_error(status)
        start = 0
        if wanted and site.ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", site.etag)
        self.end_headers()
        if self.command == "GET":
            with suppress(ConnectionError):  # the other side has gone
                self.send_body(content[start:])

    def send_body(self, body: bytes) -> None:
        site, limit = self.site, None
        if site.drop_after is not None and site.drops > 0:
            site.drops, limit = site.drops - 1, site.drop_after
        step = 1024 if site.pause else 2**16
        body = body[:limit]
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(site.pause)
        self.wfile.flush()
        if limit is not None:
            time.sleep(site.stalls)
            self.close_connection = True


@contextmanager
def served(site: Site) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
