"""What the page that listens costs in a browser: bytes, time until it listens, time of a call, memory; beside Python.

Protocol
    The built page and a model are served on this machine, opened in headless Chromium with an empty profile, and
    listen for SECONDS to a microphone that plays noise which comes and goes. Given are, in the browser: the bytes of
    the page's files as they are and with gzip; milliseconds from the beginning of the navigation to the model being
    ready, and from pressing Listen to the first scores; the median and 99 % of the last 300 calls of the model, one
    thread; the resident memory of the page with its worker, READINGS times, and then after each of RECORDINGS times
    that it listens to a recording of ten minutes, as fast as it goes. In Python: as many calls by ONNX Runtime, one
    thread, in this process, once the browser is closed. Needs Chromium, node and the built page (make web).

    python benchmarks/web_page.py MODEL.onnx [SECONDS [RECORDINGS]]     JSON on the last line
"""

import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.streaming import StreamingModel

ROOT = Path(__file__).resolve().parent.parent
SECONDS, NOISE_SECONDS, READINGS = 60, 6, 4
RECORDING_SECONDS = 600
CALL_SECONDS = 0.1
LOUD, SOFT = 0.05, 1e-3
MS_PER_SECOND = 1000
DECIMALS = 3
QUANTILES = {"p50": 0.5, "p99": 0.99}
STEPS = """
await page.waitForFunction(() => !document.getElementById("listen").disabled);
const ready = await page.evaluate(() => performance.now());
const begin = Date.now();
await page.click("#listen");
await page.waitForFunction(() => document.getElementById("cost").textContent);
const listening = Date.now() - begin;
const memory = [];
for (let i = 0; i < facts.readings; i++) {
  await page.waitForTimeout((1000 * facts.seconds) / facts.readings);
  memory.push(Math.round(megabytes()));
}
const calls = await page.evaluate(() => window.spotter.costs.times);
const recordings = [];
for (let i = 0; i < facts.recordings; i++) {
  await page.evaluate(() => (document.getElementById("status").textContent = ""));
  await page.setInputFiles("#sound-file", facts.recording);
  const isDone = () => document.getElementById("status").textContent.includes(" events");
  await page.waitForFunction(isDone, null, { timeout: 0 });
  recordings.push(Math.round(megabytes()));
}
return { ready, listening, memory, calls, recordings };
"""


def noise(rate: int, seconds: int = NOISE_SECONDS) -> np.ndarray:
    """Float32 (T,)."""
    samples = seconds * rate
    loudness = np.where(np.arange(samples) // rate % 2, LOUD, SOFT)
    return (np.random.default_rng(0).normal(0, 1, samples) * loudness).astype(np.float32)


def calls_in_python(model: Path, count: int) -> list[float]:
    """Milliseconds of calls as the page makes them."""
    backend = OnnxBackend(model)
    sound = noise(backend.info.sample_rate)
    streaming = StreamingModel(model) if backend.info.streaming else None
    length = (
        round(CALL_SECONDS * backend.info.sample_rate) if streaming else backend.info.clip_samples
    )
    state = streaming.initial_state() if streaming else np.zeros(0)
    taken = []
    for i in range(count):
        start = i * length % (len(sound) - length)
        waveform = sound[np.newaxis, start : start + length]
        begin = time.perf_counter()
        if streaming:
            _, state = streaming(waveform, state)
        else:
            backend(waveform)
        taken.append((time.perf_counter() - begin) * MS_PER_SECOND)
    return taken


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    return {
        name: round(float(np.quantile(milliseconds, share)), DECIMALS)
        for name, share in QUANTILES.items()
    }


def sizes(folder: Path) -> dict[str, int]:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {"bytes": sum(map(len, files)), "gzip": sum(len(gzip.compress(file)) for file in files)}


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from web_page import MICROPHONE, PAGE, make_site, served, visit

    model = Path(sys.argv[1])
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    recordings = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rate = OnnxBackend(model).info.sample_rate
        soundfile.write(folder / "noise.wav", noise(rate), rate)
        recording = folder / "recording.wav"
        soundfile.write(recording, noise(rate, RECORDING_SECONDS), rate)
        flags = [*MICROPHONE, f"--use-file-for-fake-audio-capture={folder / 'noise.wav'}"]
        facts = {"seconds": seconds, "readings": READINGS}
        facts |= {"recordings": recordings, "recording": str(recording)}
        patience = 2 * seconds + 60 + recordings * RECORDING_SECONDS
        with served(make_site(folder / "site", model)) as address:
            seen: dict[str, Any] = visit(address, STEPS, flags, facts, timeout=patience).value
    calls = seen.pop("calls")
    python = quantiles(calls_in_python(model, len(calls)))
    print(
        json.dumps(
            {
                "model": model.name,
                "model_bytes": model.stat().st_size,
                "page": sizes(PAGE),
                "ready_ms": round(seen["ready"]),
                "listening_ms": seen["listening"],
                "memory_mb": seen["memory"],
                "memory_mb_of_recordings": seen["recordings"],
                "calls": len(calls),
                "browser_ms": quantiles(calls),
                "python_ms": python,
            }
        )
    )


if __name__ == "__main__":
    main()
