"""A Triton server under load: speed by HTTP and gRPC beside the same model in process, and what happens under stress.

Protocol
    A server of its own, the one of `kws serve`, is started on free ports of this machine and ended again; the clients
    run here too, so that server and clients share the cores. The clips are noise: speed does not depend on what is
    said.
    speed    one clip a request. In process: the model by onnxruntime on one thread, a clip at a time. Then 1, 4 and 16
             clients by HTTP and by gRPC: tasks of one asyncio process, each with one request on its way at any time.
             All are measured in turn, ROUNDS times, after a warm-up; given are the latency as a client sees it, p50
             and p99 of all rounds, clips a second, the median of the rounds, and its ratio to in process, the median
             of the ratios within each round.
    stress   64 threads send requests; then 64 send more than a short queue takes, without retries and with; then a new
             version is loaded under the load of 16; then the backend's process is killed. Counted are answers,
             answers that differ from those in process, and failures by kind.

    python benchmarks/triton_load.py [MODEL.onnx]     the newest export unless told; tables, and JSON on the last line
"""

import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.triton import TritonClient
from speech_commands_kws.inference.backends.triton_async import AsyncTritonClient
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.packaging.triton_repository import TritonModel
from speech_commands_kws.serving.server import ADDRESS, TritonServer
from speech_commands_kws.serving.supervisor import Supervisor

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = (1, 4, 16)
ROUNDS = 5
REQUESTS = 600  # a round, of all clients together
WARM_UP = 100
MANY_CLIENTS = 64
REQUESTS_EACH = 20
SHORT_QUEUE = 8
RELOAD_CLIENTS = 16
RELOAD_SECONDS = 4.0
P99 = 99
NO_RETRIES = {"retries": 0, "timeout_seconds": 30.0}
MODEL = TritonModel(
    repository="",
    name="kws_onnx",
    stream_name="kws_stream",
    call_ms=100,
    backend="onnxruntime",
    kind="KIND_CPU",
    instances=2,
    intra_threads=1,
    max_batch_size=64,
    queue_delay_us=0,
    queue_size=256,
    queue_timeout_us=2_000_000,
    versions_kept=2,
)


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def new_server(folder: Path) -> TritonServer:
    http_port, grpc_port, metrics_port = free_ports(3)
    return TritonServer(
        environment=str(ROOT / ".tools" / "triton"),
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        log_file=str(folder / "triton.log"),
        log_verbose=0,
        http_threads=8,
        body_bytes=64_000_000,
        body_seconds=10,
        exit_seconds=8,
        reload_seconds=60,
    )


def new_supervisor() -> Supervisor:
    return Supervisor(
        every_seconds=1,
        timeout_seconds=5,
        failures=1,
        probes=1,
        pause_seconds=1,
        longest_pause_seconds=60,
        start_seconds=60,
    )


# Speed


def in_process(backend: OnnxBackend, clip: np.ndarray) -> list[float]:
    """Seconds of each of REQUESTS calls."""
    seconds = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        backend(clip)
        seconds.append(time.perf_counter() - begin)
    return seconds


async def by_server(url: str, protocol: str, clients: int, requests: int, clip: np.ndarray):
    """Seconds of each request, and of all together."""
    seconds: list[float] = []

    async def send(client: AsyncTritonClient) -> None:
        for _ in range(requests // clients):
            begin = time.perf_counter()
            await client.infer(clip)
            seconds.append(time.perf_counter() - begin)

    async with AsyncTritonClient(url, protocol=protocol, **NO_RETRIES) as client:
        begin = time.perf_counter()
        await asyncio.gather(*[send(client) for _ in range(clients)])
        return seconds, time.perf_counter() - begin


def speed(server: TritonServer, backend: OnnxBackend, clip: np.ndarray) -> list[dict]:
    ways = [
        (protocol, url, clients)
        for protocol, url in (("http", server.http_url), ("grpc", server.grpc_url))
        for clients in CLIENTS
    ]
    for protocol, url, clients in ways:
        asyncio.run(by_server(url, protocol, clients, WARM_UP, clip))
    latencies: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        seconds = in_process(backend, clip)
        latencies.setdefault("in process", []).extend(seconds)
        rates.setdefault("in process", []).append(len(seconds) / sum(seconds))
        for protocol, url, clients in ways:
            seconds, total = asyncio.run(by_server(url, protocol, clients, REQUESTS, clip))
            way = f"{protocol}, {clients} clients"
            latencies.setdefault(way, []).extend(seconds)
            rates.setdefault(way, []).append(len(seconds) / total)
    return [
        {
            "way": way,
            "p50_ms": 1000 * statistics.median(latencies[way]),
            "p99_ms": 1000 * float(np.percentile(latencies[way], P99)),
            "clips_per_second": statistics.median(rates[way]),
            "ratio": statistics.median(
                rate / base for rate, base in zip(rates[way], rates["in process"])
            ),
        }
        for way in rates
    ]


# Stress


def outcome(client: TritonClient, clip: np.ndarray, expected: np.ndarray) -> str:
    """What came of one request, in a word or in the words of the client."""
    try:
        probabilities, _ = client.infer(clip)
    except KwsError as error:
        return "503" if "[503]" in str(error) else str(error)
    return "answered" if np.abs(probabilities - expected).max() < 1e-4 else "differs"


def many(url: str, name: str, clip: np.ndarray, expected: np.ndarray, **patience) -> Counter:
    """MANY_CLIENTS threads with a client each, all at once."""

    def ask(_: int) -> Counter:
        with TritonClient(url, name, **patience) as client:
            together.wait()
            return Counter(outcome(client, clip, expected) for _ in range(REQUESTS_EACH))

    together = threading.Barrier(MANY_CLIENTS)
    with ThreadPoolExecutor(MANY_CLIENTS) as pool:
        return sum(pool.map(ask, range(MANY_CLIENTS)), Counter())


def under_load(url: str, clip: np.ndarray, expected: np.ndarray, act: Callable[[], object]):
    """What RELOAD_CLIENTS get, without retries, while something is done."""

    def ask(_: int) -> Counter:
        counts: Counter = Counter()
        with TritonClient(url, **NO_RETRIES) as client:
            while not done.is_set():
                counts[outcome(client, clip, expected)] += 1
        return counts

    done = threading.Event()
    with ThreadPoolExecutor(RELOAD_CLIENTS) as pool:
        running = pool.map(ask, range(RELOAD_CLIENTS))
        time.sleep(RELOAD_SECONDS / 2)
        act()
        time.sleep(RELOAD_SECONDS / 2)
        done.set()
        return sum(running, Counter())


def new_version(server: TritonServer, served: TritonModel, model: Path, folder: Path) -> list[str]:
    """Put the model there once more, with another note in it, and load it; returns the versions that are served."""
    changed = onnx.load(model)
    changed.doc_string = "second version"
    onnx.save(changed, folder / "second.onnx")
    served.fill(folder / "second.onnx", OnnxBackend(model).info)
    reason = server.reload(served.name)
    assert reason is None, reason
    with urllib.request.urlopen(f"http://{server.http_url}/v2/models/{served.name}") as answer:
        return json.load(answer)["versions"]


def kill_backend(server: TritonServer) -> None:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        name, _, fields = stat.read_text().rpartition(")")
        if int(fields.split()[2]) == server.process.pid and "python_b" in name:
            os.kill(int(stat.parent.name), signal.SIGKILL)


def recovery_seconds(server: TritonServer, repository: Path, names: list[str]) -> float:
    """From the death of the backend to the next answer, with the server supervised as by `kws serve`."""
    supervisor = new_supervisor()
    said: list[str] = []
    stop = threading.Event()

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            raise KeyboardInterrupt

    thread = threading.Thread(
        target=supervisor.run, args=(server, repository, names, said.append, wait)
    )
    thread.start()
    while not said:
        time.sleep(0.1)
    kill_backend(server)
    begin = time.perf_counter()
    while supervisor.fault(server, names) is not None or not supervisor.restarted:
        time.sleep(0.1)
    seconds = time.perf_counter() - begin
    stop.set()
    thread.join()
    return seconds


def stress(server: TritonServer, repository: Path, model: Path, folder: Path, clip: np.ndarray):
    expected, _ = OnnxBackend(model)(clip)
    served = replace(MODEL, repository=repository)
    http, short = server.http_url, "kws_short_queue"
    results = {
        f"{MANY_CLIENTS} clients, http": many(http, "kws_onnx", clip, expected, **NO_RETRIES),
        f"{MANY_CLIENTS} clients, grpc": many(
            server.grpc_url, "kws_onnx", clip, expected, protocol="grpc", **NO_RETRIES
        ),
        "short queue": many(http, short, clip, expected, **NO_RETRIES),
        "short queue, retries": many(http, short, clip, expected, retries=10, timeout_seconds=30),
    }
    versions: list[str] = []
    results["new version under load"] = under_load(
        http, clip, expected, lambda: versions.extend(new_version(server, served, model, folder))
    )
    assert versions == ["2"], versions
    server.stop()
    seconds = recovery_seconds(server, repository, ["kws_onnx"])
    return {name: dict(counts) for name, counts in results.items()}, seconds


def main() -> None:
    console = Console(file=sys.stderr)
    model = locate_model(sys.argv[1] if len(sys.argv) > 1 else None, ROOT / "plots" / "runs")
    backend = OnnxBackend(model)
    clip = np.random.default_rng(0).uniform(-1, 1, (1, backend.info.clip_samples))
    clip = clip.astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = folder / "repository"
        replace(MODEL, repository=repository).fill(model, backend.info)
        short = replace(MODEL, repository=repository, name="kws_short_queue")
        replace(short, queue_size=SHORT_QUEUE, max_batch_size=1).fill(model, backend.info)
        server = new_server(folder)
        try:
            new_supervisor().begin(server, repository, ["kws_onnx", "kws_short_queue"])
            speeds = speed(server, backend, clip)
            counts, seconds = stress(server, repository, model, folder, clip)
        finally:
            server.stop()
    table = Table(*speeds[0], title="speed")
    for row in speeds:
        table.add_row(row["way"], *(f"{value:.2f}" for value in list(row.values())[1:]))
    console.print(table)
    console.print(counts)
    console.print(f"answers {seconds:.1f} s after the death of its backend")
    packages = {name: version(name) for name in ("onnxruntime", "tritonclient")}
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), **packages}
    print(json.dumps({**machine, "speed": speeds, "stress": counts, "recovery_seconds": seconds}))


if __name__ == "__main__":
    main()
