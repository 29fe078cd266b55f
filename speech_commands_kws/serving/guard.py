"""Stands before the HTTP of the embedded Triton: passes on what clients need, and keeps away what ends this release.

Release 24.10 asks for as much memory as a tensor's shape tells, whatever is sent with it, and reads JSON by recursion:
both end the process. Triton itself listens on a socket in a folder that only this user may enter.
"""

import asyncio
import json
import logging
import re
from http import HTTPStatus
from math import prod
from pathlib import Path
from threading import Thread
from typing import Any

from speech_commands_kws.errors import summarize_error

HEADER_LENGTH = "Inference-Header-Content-Length"
PASSED_ON = (HEADER_LENGTH, "Content-Type")
# What a client needs; all else, such as loading models, is not for clients.
PATHS = re.compile(
    r"/v2(/health/\w+|/models/[\w.-]+(/versions/\d+)?(/(config|ready|stats|infer))?)?", re.ASCII
)
# Arrays, objects and names in a request's JSON: no deeper nesting is possible, and samples are none of them.
MOST_NODES = 10_000
MOST_DIMENSIONS = 100
LARGE_BYTES = 1_000_000
QUEUE = 1000  # connections that wait to be taken


class Guard:
    """A web server on this machine's own address, in a thread of this process.

    Args:
        address, port: where it listens.
        socket: of Triton's HTTP.
        body_bytes: most that a request may have.
    """

    def __init__(self, address: str, port: int, socket: Path, body_bytes: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self._in_loop(self._open(address, port, socket, body_bytes))

    def close(self) -> None:
        self._in_loop(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _in_loop(self, task: Any) -> None:
        asyncio.run_coroutine_threadsafe(task, self.loop).result()

    async def _open(self, address: str, port: int, socket: Path, body_bytes: int) -> None:
        # Here and not above: the container needs none of it.
        from aiohttp import ClientSession, ClientTimeout, UnixConnector, web

        # What clients send is answered, not printed.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        self.checking = asyncio.Semaphore()
        self.session = ClientSession(
            connector=UnixConnector(str(socket), limit=0),
            timeout=ClientTimeout(),
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
        )
        application = web.Application(client_max_size=body_bytes)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, address, port, backlog=QUEUE).start()

    async def _close(self) -> None:
        await self.runner.cleanup()
        await self.session.close()

    async def _answer(self, request: Any) -> Any:
        from aiohttp import ClientError, web
        from yarl import URL

        path = request.rel_url.raw_path
        if not PATHS.fullmatch(path):
            return web.json_response(
                {"error": f"{path} is not for clients"}, status=HTTPStatus.FORBIDDEN
            )
        try:
            body = await request.read()
        except (ClientError, OSError, web.RequestPayloadError):
            return web.json_response({"error": "unreadable"}, status=HTTPStatus.BAD_REQUEST)
        fault = await self._fault_of(body, request.headers.get(HEADER_LENGTH)) if body else None
        if fault:
            return web.json_response({"error": fault}, status=HTTPStatus.BAD_REQUEST)
        passed = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        url = URL(f"http://triton{path}", encoded=True)
        try:
            async with self.session.request(
                request.method, url, data=body or None, headers=passed
            ) as answer:
                content = await answer.read()
        except (ClientError, OSError) as error:
            reason = f"the server is being started ({summarize_error(error)}): try again"
            return web.json_response({"error": reason}, status=HTTPStatus.SERVICE_UNAVAILABLE)
        passed = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
        return web.Response(body=content, status=answer.status, headers=passed)

    async def _fault_of(self, body: bytes, header_length: str | None) -> str | None:
        """Of large requests in a thread, and one at a time: their JSON takes seconds and much memory."""
        if len(body) < LARGE_BYTES:
            return fault_of(body, header_length)
        async with self.checking:
            return await asyncio.to_thread(fault_of, body, header_length)


def fault_of(body: bytes, header_length: str | None) -> str | None:
    """Why a request must not reach Triton; None where it may.

    Args:
        header_length: bytes of JSON that the body begins with; None where it is nothing else.
    """
    if header_length is not None and not re.fullmatch("[0-9]{1,10}", header_length):
        return f"{HEADER_LENGTH} must be a number, got {header_length}"
    text = body if header_length is None else body[: int(header_length)]
    if sum(map(text.count, (b"[", b"{", b":"))) > MOST_NODES:
        return f"expected at most {MOST_NODES} arrays, objects and names of JSON"
    try:
        request = json.loads(text.decode(), object_pairs_hook=_without_repeats)
        shapes = [tensor["shape"] for tensor in request["inputs"]]
        has_room = all(_has_room(shape, len(body)) for shape in shapes)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        return f"expected a request for an inference ({summarize_error(error)})"
    return None if has_room else f"more elements than were sent: {summarize_error(shapes)}"


def _has_room(shape: list[int], body_bytes: int) -> bool:
    """Whether a tensor can lie in a body, in which an element takes a byte at least."""
    are_sizes = all(type(size) is int and 0 <= size <= body_bytes for size in shape)
    return are_sizes and len(shape) <= MOST_DIMENSIONS and prod(shape) <= body_bytes


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that stands twice Triton would read the one, this program the other."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)
