"""Stands before the HTTP of the embedded Triton: passes on what clients need, and keeps away what ends this release.

Release 24.10 asks for as much memory as a tensor's shape tells, whatever is sent with it, and reads JSON by recursion:
both end the process. Triton itself listens on a socket in a folder that only this user may enter.
"""

import asyncio
import json
import logging
import re
from http import HTTPStatus
from io import BytesIO
from math import prod
from pathlib import Path
from threading import Thread
from typing import Any

from speech_commands_kws.errors import summarize_error

HEADER_LENGTH = "Inference-Header-Content-Length"
PASSED_ON = (HEADER_LENGTH, "Content-Type")
# What a client needs; all else, such as loading models, is not for clients.
PATHS = re.compile(
    r"/v2(/health/\w+|/models/\w[\w.-]*(/versions/\d+)?(/(config|ready|stats|infer))?)?", re.ASCII
)
# Arrays, objects and names in a request's JSON: no deeper nesting is possible, and samples are none of them.
MOST_NODES = 10_000
MOST_DIMENSIONS = 100
# More than a shape takes: arrays of samples are not read.
LONG_BYTES = 1000
NUMBERS = b"0123456789+-.eE, \t\r\n"
LARGE_BYTES = 1_000_000
LARGE_AT_ONCE = 4  # requests; each takes a few times its size, here and in Triton
QUEUE = 1000  # connections that wait to be taken
SHUTDOWN_SECONDS = 0.1  # for requests that are being answered; 0 would be no limit


class Guard:
    """A web server on this machine's own address, in a thread of this process.

    Args:
        address, port: where it listens.
        socket: of Triton's HTTP.
        body_bytes: most that a request may have.
        body_seconds: how long it may take to come.
    """

    def __init__(
        self, address: str, port: int, socket: Path, body_bytes: int, body_seconds: float
    ) -> None:
        self.body_seconds = body_seconds
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
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, UnixConnector, web

        # What clients send is answered, not printed.
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.session = ClientSession(
            connector=UnixConnector(str(socket), limit=0),
            timeout=ClientTimeout(),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent"),
        )
        application = web.Application(client_max_size=body_bytes)
        application.router.add_get("/{path:.*}", self._answer, allow_head=False)
        application.router.add_post("/{path:.*}", self._answer)
        self.runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            # The rest of a body that was refused is read for so long, so that its client hears why.
            lingering_time=self.body_seconds,
        )
        await self.runner.setup()
        await web.TCPSite(self.runner, address, port, backlog=QUEUE).start()

    async def _close(self) -> None:
        await self.runner.cleanup()
        await self.session.close()
        cancelled = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*cancelled, return_exceptions=True)

    async def _answer(self, request: Any) -> Any:
        path = request.rel_url.raw_path
        if not PATHS.fullmatch(path):
            return refusal(HTTPStatus.FORBIDDEN, f"{path} is not for clients")
        size = request.content_length
        if not request.body_exists or size is not None and size <= LARGE_BYTES:
            return await self._pass_on(request, path)
        async with self.large:
            return await self._pass_on(request, path)

    async def _pass_on(self, request: Any, path: str) -> Any:
        from aiohttp import ClientError, web
        from yarl import URL

        try:
            async with asyncio.timeout(self.body_seconds):
                body = await request.read()
        except TimeoutError:
            reason = f"expected the whole body within {self.body_seconds:g} s"
            return refusal(HTTPStatus.REQUEST_TIMEOUT, reason)
        except (ClientError, OSError, web.RequestPayloadError):
            return refusal(HTTPStatus.BAD_REQUEST, "unreadable")
        fault = await self._fault_of(body, request.headers.get(HEADER_LENGTH)) if body else None
        if fault:
            return refusal(HTTPStatus.BAD_REQUEST, fault)
        passed = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        url = URL(f"http://triton{path}", encoded=True)
        # Of a large one in pieces, between which others are answered.
        data = body or None if len(body) <= LARGE_BYTES else BytesIO(body)
        try:
            async with self.session.request(
                request.method, url, data=data, headers=passed
            ) as answer:
                content = await answer.read()
        except (ClientError, OSError) as error:
            reason = f"the server is being started ({summarize_error(error)}): try again"
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        passed = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
        return web.Response(body=content, status=answer.status, headers=passed)

    async def _fault_of(self, body: bytes, header_length: str | None) -> str | None:
        """Of large requests in a thread, which takes tenths of a second for one."""
        if len(body) < LARGE_BYTES:
            return fault_of(body, header_length)
        return await asyncio.to_thread(fault_of, body, header_length)


def refusal(status: HTTPStatus, reason: str) -> Any:
    from aiohttp import web

    return web.json_response({"error": reason}, status=status)


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
    text = b"[".join(map(_without_samples, text.split(b"[")))
    if len(text) > LARGE_BYTES:
        return f"expected at most {LARGE_BYTES} bytes of JSON besides numbers"
    try:
        request = json.loads(text.decode(), object_pairs_hook=_without_repeats)
        faults = [_fault_of_shape(tensor["shape"], len(body)) for tensor in request["inputs"]]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        return f"expected a request for an inference ({summarize_error(error)})"
    return next(filter(None, faults), None)


def _without_samples(part: bytes) -> bytes:
    """What follows a `[`, with null for a long array of numbers: to parse them would hold all others up for seconds.

    As a shape null is refused, and nothing else of these arrays is looked at.
    """
    content, end, rest = part.partition(b"]")
    is_long = len(content) > LONG_BYTES and not content.translate(None, NUMBERS)
    return b"null" + end + rest if is_long else part


def _fault_of_shape(shape: list[int], body_bytes: int) -> str | None:
    """Why a tensor cannot lie in a body, in which an element takes a byte at least."""
    if len(shape) > MOST_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        return (
            f"expected a shape of at most {MOST_DIMENSIONS} whole numbers of 0 or more, got "
            f"{summarize_error(shape)}"
        )
    if max(shape, default=0) > body_bytes or prod(shape) > body_bytes:
        return f"expected a shape that fits the {body_bytes} bytes that were sent, got {summarize_error(shape)}"
    return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that stands twice Triton would read the one, this program the other."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)
