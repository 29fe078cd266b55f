"""Many live streams at one `kws serve mode=websocket`: CPU of the server, and how late events come.

Protocol
    The server runs in a process of its own, as configs/serve.yaml sets it, the clients here. Each of STREAMS clients
    sends noise and tones in chunks of 100 ms, each when its sound would have been recorded; they begin at random times
    within a chunk. Latency is from the moment at which the chunk that holds an event's decision (`time`) was due, to
    the event's arrival: a client that is late itself makes it longer, not shorter. CPU is that of the server's process
    between the first second and the last. All events are compared with those of `KeywordListener` in one go.
    Beside it stands the CPU time of one `KeywordListener` in this process, for the same sound in the same chunks.

    python benchmarks/websocket_streams.py MODEL [STREAMS] [SECONDS] [THRESHOLD]     JSON on the last line
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from math import ceil

import aiohttp
import numpy as np
import psutil

from speech_commands_kws.inference.listener import KeywordListener

CHUNK_MS = 100
SAMPLE_RATE = 16_000
CHUNK = SAMPLE_RATE * CHUNK_MS // 1000
DECIMALS = 6


def sound(seconds: int) -> np.ndarray:
    """int16 (T,)."""
    generator, at = np.random.default_rng(0), np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    loudness = np.repeat(10 ** generator.uniform(-3, 0, seconds), SAMPLE_RATE)
    hertz = np.repeat(generator.uniform(100, 3000, seconds), SAMPLE_RATE)
    tones = 0.3 * np.sin(2 * np.pi * hertz * at) * (at % 3 < 1)
    noise = 0.1 * generator.standard_normal(len(at)) * loudness
    return np.round(32767 * (noise + tones).clip(-1, 1)).astype("<i2")


async def stream(
    session: aiohttp.ClientSession, url: str, samples: np.ndarray, begin: float
) -> tuple[list[tuple[str, float]], list[float]]:
    """The events of one client, and their latencies (s)."""
    events, latencies = [], []

    async def hear(connection: aiohttp.ClientWebSocketResponse) -> None:
        async for message in connection:
            event = message.json()
            if "keyword" in event:
                events.append((event["keyword"], event["time"]))
                due = (
                    begin
                    + ceil(round(event["time"] * SAMPLE_RATE / CHUNK, DECIMALS)) * CHUNK_MS / 1000
                )
                latencies.append(time.monotonic() - due)

    async with session.ws_connect(url) as connection:
        hearing = asyncio.create_task(hear(connection))
        for start in range(0, len(samples), CHUNK):
            due = begin + (start + CHUNK) / SAMPLE_RATE
            await asyncio.sleep(max(due - time.monotonic(), 0))
            await connection.send_bytes(samples[start : start + CHUNK].tobytes())
        await connection.send_json({"finish": True})
        await hearing
        assert connection.close_code == aiohttp.WSCloseCode.OK, connection.close_code
    return events, latencies


async def streams(url: str, count: int, samples: np.ndarray, server: psutil.Process) -> dict:
    generator, cpu = np.random.default_rng(1), []
    begin = time.monotonic() + 1

    async def watch() -> None:
        for at in (1, len(samples) / SAMPLE_RATE - 1):
            await asyncio.sleep(begin + at - time.monotonic())
            cpu.append((sum(server.cpu_times()[:2]), time.monotonic()))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begins = begin + generator.uniform(0, CHUNK_MS / 1000, count)
        *found, _ = await asyncio.gather(
            *(stream(session, url, samples, each) for each in begins), watch()
        )
    late = np.array([latency for _, latencies in found for latency in latencies])
    return {
        "events": len(late),
        "latency_ms_p50_p95_p99_max": np.round(
            1000 * np.quantile(late, [0.5, 0.95, 0.99, 1]), 1
        ).tolist(),
        "cpu_ms_per_stream_second": round(
            1000 * (cpu[1][0] - cpu[0][0]) / (cpu[1][1] - cpu[0][1]) / count, 2
        ),
        "found": [events for events, _ in found],
    }


def main() -> None:
    model, *given = sys.argv[1:]
    count, seconds, threshold = [*map(float, given), *[50.0, 60.0, 0.5][len(given) :]]
    samples = sound(int(seconds))
    listener, begin = KeywordListener(model, None, threshold), time.process_time()
    events = [
        event
        for start in range(0, len(samples), CHUNK)
        for event in listener(samples[start : start + CHUNK])
    ]
    expected = [
        (event.keyword, round(event.time, DECIMALS)) for event in events + listener.finish()
    ]
    facts: dict[str, object] = {
        "streams": int(count),
        "seconds": seconds,
        "one_listener_cpu_ms_per_second": round(1000 * (time.process_time() - begin) / seconds, 2),
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = [f"websocket.port={port}", f"websocket.thresholds={threshold}"]
    command = [
        sys.executable,
        "-m",
        "speech_commands_kws.serve",
        "mode=websocket",
        f"model={model}",
    ]
    server = subprocess.Popen([*command, *settings], stderr=subprocess.PIPE, text=True)
    try:
        assert "listening" in server.stderr.readline()
        url, process = f"http://127.0.0.1:{port}/", psutil.Process(server.pid)
        facts |= asyncio.run(streams(url, int(count), samples, process))
        facts["rss_mib"] = round(process.memory_info().rss / 2**20)
    finally:
        server.terminate()
        server.wait()
    facts["same_events"] = all(found == expected for found in facts.pop("found"))
    facts |= {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "onnxruntime": version("onnxruntime"),
    }
    for key, value in facts.items():
        print(f"{key:32} {value}")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
