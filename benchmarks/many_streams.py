"""Many microphones at the pace of their sound against one Triton server: are answers in time, and what do they cost?

Protocol
    `kws serve` runs on free ports of this machine; the microphones are tasks of one asyncio process on the same cores.
    Each sends CALL_MS of sound as soon as so much of it has passed, with the state that the answer before gave; their
    phases are spread evenly. All hear the same noise, so that every answer is compared with that of the model in this
    process. The latency of an answer counts from the end of its sound: one that is late makes those behind it late. A
    request is tried again as by `kws listen`; a microphone whose request is refused for good, or that is QUEUE_SECONDS
    behind, when `kws listen` would lose sound, ends, and is counted with the reason. A gateway sends the sound of many
    microphones in one request.
    CPU time is that of the server with its guard and its backend, a second of one microphone; of the microphones too,
    for a comparison. A batch is what the server scored at once, on average.

    python benchmarks/many_streams.py MODEL.streaming.onnx [SECONDS]     a table, and JSON on the last line
"""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from triton_load import P99, ROOT, free_ports

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.triton_async import STREAM_NAME, AsyncTritonClient
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.serving.server import ADDRESS

SECONDS = 60
# Protocol, microphones, and how many of them share a request.
LOADS = (
    ("grpc", 25, 1),
    ("http", 25, 1),
    ("grpc", 100, 1),
    ("http", 100, 1),
    ("grpc", 500, 1),
    ("grpc", 500, 50),
)
PER_CLIENT = 50  # microphones; a client by HTTP has 100 connections at most
LEVEL = 0.1
TOLERANCE = 1e-4
RETRIES = 15
QUEUE_SECONDS = 10
CALL_MS = 100
MS = 1000
STOP_SECONDS = 60
METRIC = re.compile(rf'^nv_inference_(count|exec_count){{model="{STREAM_NAME}".*}} (\S+)$', re.M)


@contextmanager
def served(model: Path, folder: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """The process of `kws serve`, and its addresses."""
    http_port, grpc_port, metrics_port = free_ports(3)
    settings = [
        f"model={model.absolute()}",
        f"paths.root={folder}",
        f"server.environment={ROOT / '.tools' / 'triton'}",
        f"server.http_port={http_port}",
        f"server.grpc_port={grpc_port}",
        f"server.metrics_port={metrics_port}",
        f"triton.call_ms={CALL_MS}",
    ]
    command = [sys.executable, "-m", "speech_commands_kws.serve", *settings]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        while not any(line.startswith("serving") for line in said):
            said.append(process.stderr.readline())
            if not said[-1]:
                raise KwsError(f"the server did not start: {said}")
        addresses = {
            kind: f"{ADDRESS}:{port}"
            for kind, port in zip(("http", "grpc", "metrics"), (http_port, grpc_port, metrics_port))
        }
        yield psutil.Process(process.pid), addresses
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        process.stderr.close()


def cpu_seconds(process: psutil.Process) -> float:
    """Of a process and those below it."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def scored(metrics: str) -> np.ndarray:
    """Pieces of sound that the server has scored, and batches."""
    with urllib.request.urlopen(f"http://{metrics}/metrics") as page:
        found = dict(METRIC.findall(page.read().decode()))
    return np.array([float(found["count"]), float(found["exec_count"])])


async def microphones(
    client: AsyncTritonClient, count: int, begin: float, sound: np.ndarray, expected: np.ndarray
) -> tuple[list[float], Counter]:
    """Latencies in seconds of what microphones that share a request are answered, and what became of it."""
    latencies: list[float] = []
    counts: Counter = Counter()
    state = np.zeros((count, *client.served.shapes["state"]), np.float32)
    for i, (chunk, rows) in enumerate(zip(sound, expected, strict=True)):
        due = begin + (i + 1) * CALL_MS / MS
        await asyncio.sleep(max(due - time.monotonic(), 0))
        if time.monotonic() - due > QUEUE_SECONDS:
            counts["too late"] += count
            break
        try:
            answer, state = await client.step(np.tile(chunk, (count, 1)), state)
        except KwsError as error:
            counts[str(error)] += count
            break
        latencies += [time.monotonic() - due] * count
        counts["right" if np.abs(answer - rows).max() < TOLERANCE else "wrong"] += count
    return latencies, counts


async def listening(
    url: str, protocol: str, count: int, per_request: int, sound: np.ndarray, expected: np.ndarray
) -> tuple[list[float], Counter]:
    """All microphones together."""
    async with AsyncExitStack() as stack:
        settings = {"protocol": protocol, "retries": RETRIES}
        clients = [
            await stack.enter_async_context(AsyncTritonClient(url, STREAM_NAME, **settings))
            for _ in range(0, count, PER_CLIENT)
        ]
        begin, requests = time.monotonic() + 1, count // per_request
        tasks = [
            microphones(
                clients[i % len(clients)],
                per_request,
                begin + i / requests * CALL_MS / MS,
                sound,
                expected,
            )
            for i in range(requests)
        ]
        answers = await asyncio.gather(*tasks)
    latencies = [latency for found, _ in answers for latency in found]
    return latencies, sum((counts for _, counts in answers), Counter())


def measure(
    load: tuple[str, int, int],
    process: psutil.Process,
    addresses: dict[str, str],
    sound: np.ndarray,
    expected: np.ndarray,
) -> dict[str, object]:
    protocol, count, per_request = load
    before, own, batches = cpu_seconds(process), time.process_time(), scored(addresses["metrics"])
    begin = time.monotonic()
    latencies, counts = asyncio.run(
        listening(addresses[protocol], protocol, count, per_request, sound, expected)
    )
    pieces, executions = scored(addresses["metrics"]) - batches
    heard = len(latencies) * CALL_MS / MS
    late = np.array(latencies) * MS
    return {
        "protocol": protocol,
        "microphones": count,
        "per_request": per_request,
        "seconds": round(time.monotonic() - begin, 1),
        "p50_ms": round(float(np.median(late)), 1),
        "p99_ms": round(float(np.percentile(late, P99)), 1),
        "longest_ms": round(float(late.max()), 1),
        "later_than_the_next": round(float(np.mean(late > CALL_MS)), 4),
        "batch": round(pieces / executions, 2),
        "server_cpu_ms": round((cpu_seconds(process) - before) * MS / heard, 2),
        "microphone_cpu_ms": round((time.process_time() - own) * MS / heard, 2),
        "answers": dict(counts),
    }


def main() -> None:
    model = StreamingModel(Path(sys.argv[1]))
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    calls, samples = seconds * MS // CALL_MS, model.info.sample_rate * CALL_MS // MS
    sound = np.random.default_rng(0).normal(0, LEVEL, (calls, samples)).astype(np.float32)
    frames = samples // model.hop_samples
    expected = model.rows(sound.ravel(), repeat(frames)).reshape(calls, frames, -1)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(sys.argv[1]), Path(folder)) as (process, addresses),
    ):
        rows = [measure(load, process, addresses, sound, expected) for load in LOADS]
    table = Table("", *(f"{row['microphones']} {row['protocol']}" for row in rows))
    for name in rows[0]:
        table.add_row(name, *(str(row[name]) for row in rows))
    Console(file=sys.stderr).print(table)
    packages = {name: version(name) for name in ("onnxruntime", "tritonclient")}
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), **packages}
    print(json.dumps({**machine, "load_average": os.getloadavg()[0], "rows": rows}))


if __name__ == "__main__":
    main()
