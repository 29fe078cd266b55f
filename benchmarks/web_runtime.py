"""Whether ONNX Runtime in WebAssembly, as a browser has it, answers for a stream like the one of Python.

Protocol
    onnxruntime-web is installed from npm's index into a temporary folder, and node runs the model on one thread over
    the same sound, noise that comes and goes, a hundred times, each time from a state of zeros and cut into other
    calls of 1 to 39 frames. Given is the largest difference of its probabilities from those of this environment's
    ONNX Runtime for the whole sound at once, which must be at most 1e-5. To be run by hand after a change of the
    exporter, where node and npm are: it downloads.

    python benchmarks/web_runtime.py [MODEL.streaming.onnx]     the newest one unless told; JSON on the last line
"""

import json
import subprocess
import sys
import tempfile
from itertools import repeat
from pathlib import Path

import numpy as np

from speech_commands_kws.inference.locate import STREAMING_FILE, locate_model, newest_export
from speech_commands_kws.inference.model_info import INPUT, NEXT_STATE, PROBABILITIES, STATE
from speech_commands_kws.inference.streaming import StreamingModel

RUNS = Path(__file__).resolve().parent.parent / "plots" / "runs"
PACKAGE = "onnxruntime-web@1.30.0"
FRAMES, MOST_FRAMES, CHUNKINGS = 600, 39, 100
AMPLITUDE, SOFTER = 0.05, 1e-2
TOLERANCE = 1e-5
PROGRAM = f"""
import {{ readFileSync, writeFileSync }} from "node:fs";
import ort from "onnxruntime-web/wasm";
const {{ model, hop, stateShape, chunkings }} = JSON.parse(readFileSync("facts.json"));
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model));
const sound = new Float32Array(new Uint8Array(readFileSync("sound.bin")).buffer);
const shape = [1, ...stateShape];
const answers = [];
for (const chunking of chunkings) {{
  let state = new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), shape);
  let start = 0;
  for (const frames of chunking) {{
    const samples = sound.slice(start, (start += frames * hop));
    const waveform = new ort.Tensor("float32", samples, [1, samples.length]);
    const outputs = await session.run({{ {INPUT}: waveform, {STATE}: state }});
    answers.push(...outputs.{PROBABILITIES}.data);
    state = outputs.{NEXT_STATE};
  }}
}}
writeFileSync("answers.bin", new Uint8Array(new Float32Array(answers).buffer));
"""


def chunking(generator: np.random.Generator) -> list[int]:
    """Frames of each call."""
    calls: list[int] = []
    while sum(calls) < FRAMES:
        calls.append(int(min(generator.integers(1, MOST_FRAMES + 1), FRAMES - sum(calls))))
    return calls


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else newest_export(RUNS, STREAMING_FILE)
    model = StreamingModel(locate_model(name, RUNS))
    generator = np.random.default_rng(0)
    samples = FRAMES * model.hop_samples
    second = np.arange(samples) // model.info.sample_rate
    noise = generator.normal(0, AMPLITUDE, samples) * np.where(second % 2, 1, SOFTER)
    sound = noise.astype(np.float32)
    task = {
        "model": str(Path(model.model).absolute()),
        "hop": model.hop_samples,
        "stateShape": model.state_shape,
        "chunkings": [chunking(generator) for _ in range(CHUNKINGS)],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "facts.json").write_text(json.dumps(task))
        (folder / "stream.mjs").write_text(PROGRAM)
        sound.tofile(folder / "sound.bin")
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", PACKAGE]
        subprocess.run(install, cwd=folder, check=True)
        subprocess.run(["node", "stream.mjs"], cwd=folder, check=True)
        answers = np.fromfile(folder / "answers.bin", np.float32)
    expected = model.rows(sound, repeat(FRAMES))
    difference = float(np.abs(answers.reshape(CHUNKINGS, *expected.shape) - expected).max())
    facts = {"package": PACKAGE, "difference": difference, "range": float(np.ptp(expected))}
    print(json.dumps(facts))
    sys.exit(not difference <= TOLERANCE)


if __name__ == "__main__":
    main()
