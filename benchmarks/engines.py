"""One model in every engine: latency, throughput, CPU time, memory and size.

Protocol
    Untrained networks (weights do not matter to the time) are exported in fp32, fp16 and int8. Each engine answers one
    clip of noise at a time, in a process of its own, so that its peak memory is its own; engines take turns for ROUNDS
    rounds, so that a burst of other work on the machine hits all alike. Triton is the server of `kws serve`, with the
    fp32 file of each network; its clients run on this machine too and share its cores. Latencies are of all rounds,
    clips a second the median of the rounds; the ratio is that of clips a second to the fp32 file in process on one
    thread, the median of the ratios within each round. CPU time is that of all threads, and with Triton that of
    server and clients. Peak memory is that of the process, with Triton the sum over the server's processes now.

    python benchmarks/engines.py [NETWORK ...]     all networks unless told; a table for each, and JSON on the last
                                                   line; of all networks also plots/engines.png and the tables of
                                                   docs/benchmarks.md
"""

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import psutil
from matplotlib.figure import Figure
from one_engine import CALLS, WARM_UP, make_spotter, noise, variants
from rich.console import Console
from rich.table import Table
from triton_load import CLIENTS, MODEL, ROOT, by_server, new_server, new_supervisor

from speech_commands_kws.figures.style import BLUE, SKY_BLUE, STYLE, save
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.onnx_export import write_onnx
from speech_commands_kws.serving.server import TritonServer

NETWORKS = {
    "BC-ResNet-1": ["backbone=bc_resnet", "backbone.width=1"],
    "BC-ResNet-3": ["backbone=bc_resnet", "backbone.width=3"],
    "BC-ResNet-8": ["backbone=bc_resnet", "backbone.width=8"],
    "DS-CNN": ["backbone=ds_cnn"],
    "speech_embedding": ["backbone=speech_embedding"],
}
PRECISIONS = ("fp32", "fp16", "int8")
THREADS = (1, 2)
BASE = "onnxruntime fp32, 1 thread"
OPSET = 18
CALIBRATION_CLIPS = 64
ROUNDS = 2
P99 = 99
MS = 1000
MB = 1e6
ONE_ENGINE = Path(__file__).with_name("one_engine.py")
PICTURE = ROOT / "plots" / "engines.png"
PAGE, BEGIN, END = ROOT / "docs" / "benchmarks.md", "<!-- engines -->", "<!-- /engines -->"


class Measured(NamedTuple):
    """Of one round: seconds of each call, clips a second, CPU seconds a clip, peak memory (bytes)."""

    seconds: list[float]
    rate: float
    cpu: float
    memory: float


def export(overrides: list[str], folder: Path) -> None:
    """Write <precision>.onnx of each precision."""
    folder.mkdir()
    write_onnx(*make_spotter(overrides), OPSET, folder / "fp32.onnx")
    for variant in variants():
        target = folder / f"{variant.name}.onnx"
        variant.convert(folder / "fp32.onnx", target, noise(CALIBRATION_CLIPS))


# In process


def in_processes(overrides: list[str], folder: Path) -> dict[str, Measured | str]:
    """One round of every engine that needs no server, each in a fresh process."""
    engines: dict[str, tuple] = {
        f"onnxruntime {precision}, {threads} thread{'s' * (threads > 1)}": (
            "onnx",
            folder / f"{precision}.onnx",
            threads,
        )
        for precision in PRECISIONS
        for threads in THREADS
    }
    engines["torch eager, 1 thread"] = ("eager", *overrides)
    engines["torch compiled, 1 thread"] = ("compiled", *overrides)
    return {name: in_process(*map(str, words)) for name, words in engines.items()}


def in_process(*words: str) -> Measured | str:
    command = [sys.executable, str(ONE_ENGINE), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return f"does not run here: {reason[-1]}"
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


# Triton


def by_triton(server: TritonServer, clip: np.ndarray) -> dict[str, Measured]:
    """One round of every protocol and number of clients."""
    found = {}
    for protocol, url in (("HTTP", server.http_url), ("gRPC", server.grpc_url)):
        for clients in CLIENTS:
            asyncio.run(by_server(url, protocol.lower(), clients, WARM_UP, clip))
            busy = cpu_seconds(server)
            seconds, total = asyncio.run(by_server(url, protocol.lower(), clients, CALLS, clip))
            cpu = (cpu_seconds(server) - busy) / len(seconds)
            memory = sum(process.memory_info().rss for process in processes(server))
            name = f"Triton {protocol}, {clients} client{'s' * (clients > 1)}"
            found[name] = Measured(seconds, len(seconds) / total, cpu, memory)
    return found


def processes(server: TritonServer) -> list[psutil.Process]:
    main = psutil.Process(server.process.pid)
    return [main, *main.children(recursive=True)]


def cpu_seconds(server: TritonServer) -> float:
    times = [process.cpu_times() for process in processes(server)]
    return time.process_time() + sum(each.user + each.system for each in times)


# All of it


def compare(overrides: list[str], folder: Path) -> list[dict[str, Any]]:
    """A row for each engine."""
    export(overrides, folder)
    repository = folder / "repository"
    backend = OnnxBackend(folder / "fp32.onnx")
    replace(MODEL, repository=repository).fill(folder / "fp32.onnx", backend.info)
    server = new_server(folder)
    rounds: list[dict[str, Measured | str]] = []
    for _ in range(ROUNDS):
        rounds.append(in_processes(overrides, folder))
        try:  # not meanwhile: a waiting server takes memory, and a little time
            new_supervisor().begin(server, repository, [MODEL.name])
            rounds[-1] |= by_triton(server, noise(1))
        finally:
            server.stop()
    return [row_of(name, rounds, folder) for name in rounds[0]]


def row_of(name: str, rounds: list[dict[str, Measured | str]], folder: Path) -> dict[str, Any]:
    precision = next((each for each in PRECISIONS if each in name), "fp32")
    path = folder / f"{precision}.onnx"
    row: dict[str, Any] = {"engine": name}
    if not name.startswith("torch"):
        row["file_kb"] = path.stat().st_size / MS
    failed = [each[name] for each in rounds if isinstance(each[name], str)]
    if failed:
        return row | {"failed": failed[0]}
    parts = [each[name] for each in rounds]
    seconds = [value for part in parts for value in part.seconds]
    return row | {
        "p50_ms": MS * statistics.median(seconds),
        "p99_ms": MS * float(np.percentile(seconds, P99)),
        "clips_per_second": statistics.median(part.rate for part in parts),
        "ratio": statistics.median(each[name].rate / each[BASE].rate for each in rounds),
        "cpu_ms": MS * statistics.median(part.cpu for part in parts),
        "memory_mb": max(part.memory for part in parts) / MB,
    }


def table_of(network: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("engine", *COLUMNS.values(), title=network)
    for row in rows:
        table.add_row(row["engine"], *([row["failed"]] if "failed" in row else cells(row)))
    return table


def cells(row: dict[str, Any]) -> list[str]:
    return [f"{row[key]:,.{DIGITS[key]}f}" if key in row else "" for key in COLUMNS]


def markdown(network: str, rows: list[dict[str, Any]]) -> str:
    """A table with aligned columns; what did not run is named below it."""
    lines = [["engine", *COLUMNS.values()]]
    lines += [[row["engine"], *cells(row)] for row in rows if "failed" not in row]
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    table = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths))} |"
        for line in lines
    ]
    notes = [f"{row['engine']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join([f"### {network}", "", *table, *(f"\n{note}" for note in notes)])


def write_page(results: dict[str, list[dict[str, Any]]], machine: dict[str, Any]) -> None:
    """Put the tables between the marks of the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    tables = "\n\n".join(markdown(network, rows) for network, rows in results.items())
    PAGE.write_text(f"{before}{BEGIN}\n\n{facts}.\n\n{tables}\n\n{END}{after}")


COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "clips_per_second": "clips/s",
    "ratio": "ratio",
    "cpu_ms": "CPU, ms",
    "memory_mb": "peak MB",
    "file_kb": "file, kB",
}
DIGITS = {key: 0 for key in COLUMNS} | {"p50_ms": 2, "p99_ms": 2, "ratio": 2, "cpu_ms": 2}


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def draw(results: dict[str, list[dict[str, Any]]]) -> None:
    """Clips a second of every engine, a panel for each network."""
    figure = Figure(figsize=(3 + 3 * len(results), 5))
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)
    for axes, (network, rows) in zip(panels[0], results.items()):
        shown = [row for row in reversed(rows) if "failed" not in row]
        names = [row["engine"] for row in shown]
        colours = [BLUE if name == BASE else SKY_BLUE for name in names]
        bars = axes.barh(names, [row["clips_per_second"] for row in shown], color=colours)
        axes.bar_label(bars, [f"{row['clips_per_second']:,.0f}" for row in shown], padding=3)
        axes.set(title=network, xlabel="clips per second")
        axes.margins(x=0.25)
    about = f"{os.cpu_count()} cores, one clip a request; dark: {BASE}"
    save(figure, PICTURE, "Clips per second of each engine", about)


def main() -> None:
    console = Console(file=sys.stderr, width=130)
    networks = {name: NETWORKS[name] for name in sys.argv[1:] or NETWORKS}
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for network, overrides in networks.items():
            results[network] = compare(overrides, Path(name) / network)
            console.print(table_of(network, results[network]))
    packages = {name: version(name) for name in ("torch", "onnxruntime", "tritonclient")}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), **packages}
    if results.keys() == NETWORKS.keys():
        draw(results)
        write_page(results, machine)
    print(json.dumps({**machine, "engines": results}))


if __name__ == "__main__":
    main()
