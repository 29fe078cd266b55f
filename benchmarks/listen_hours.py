"""Hours of sound through `KeywordListener`, faster than real time: is memory flat, and are the events those of one go?

Protocol
    Noise and tones that come and go, made block by block from a seed so that hours need no disk, are heard twice. Once
    in chunks of random lengths (1 to 8,000 samples), as a microphone and a busy machine cut them; once in the blocks
    of BLOCK_SECONDS. The events of both are compared, keyword by keyword and time by time; the resident memory is
    read READINGS times on the way. At another RATE than the model's the sound is converted.

    python benchmarks/listen_hours.py MODEL [HOURS] [THRESHOLD] [RATE]     JSON on the last line
"""

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import psutil

from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.streaming import StreamingModel

BLOCK_SECONDS = 60
LONGEST_CHUNK = 8000
READINGS = 8
SECONDS_PER_HOUR = 3600
DECIMALS = 6
MEBIBYTE = 2**20


def block_of(number: int, rate: int) -> np.ndarray:
    """One block of the sound, float32 (T,)."""
    generator = np.random.default_rng(number)
    at = np.arange(BLOCK_SECONDS * rate) / rate
    loudness = np.repeat(10 ** generator.uniform(-3, 0, BLOCK_SECONDS), rate)
    hertz = np.repeat(generator.uniform(100, 3000, BLOCK_SECONDS), rate)
    tones = 0.3 * np.sin(2 * np.pi * hertz * at) * (at % 3 < 1)
    return (0.1 * generator.standard_normal(len(at)) * loudness + tones).astype(np.float32)


def cut(block: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    start = 0
    while start < len(block):
        stop = start + int(generator.integers(1, LONGEST_CHUNK))
        yield block[start:stop]
        start = stop


def listen(listener: KeywordListener, blocks: int, is_cut: bool) -> tuple[list[Event], list[float]]:
    """Events, and the resident memory on the way (MiB)."""
    generator, process, events = np.random.default_rng(0), psutil.Process(), []
    readings = []
    for number in range(blocks):
        block = block_of(number, listener.sample_rate)
        for chunk in cut(block, generator) if is_cut else [block]:
            events += listener(chunk)
        if (number + 1) * READINGS % blocks < READINGS:
            readings.append(round(process.memory_info().rss / MEBIBYTE, 1))
    return events + listener.finish(), readings


def main() -> None:
    model, *given = sys.argv[1:]
    hours, threshold, rate = [*map(float, given), *[1.0, 0.5, 16000.0][len(given) :]]
    blocks = max(round(hours * SECONDS_PER_HOUR / BLOCK_SECONDS), 1)
    facts: dict[str, object] = {"hours": blocks * BLOCK_SECONDS / SECONDS_PER_HOUR, "rate": rate}
    found = []
    for name, is_cut in (("chunks", True), ("one_go", False)):
        begin, cpu = time.monotonic(), time.process_time()
        listener = KeywordListener(StreamingModel(model), int(rate), threshold)
        events, readings = listen(listener, blocks, is_cut)
        found.append([(event.keyword, round(event.time, DECIMALS)) for event in events])
        facts[name] = {
            "events": len(events),
            "wall_seconds": round(time.monotonic() - begin, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "rss_mib": readings,
        }
    facts |= {"same_events": found[0] == found[1], "onnxruntime": version("onnxruntime")}
    for key, value in facts.items():
        print(f"{key:12} {value}")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
