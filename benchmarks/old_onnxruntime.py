"""Whether old versions of ONNX Runtime read an export, and answer like the present one.

Protocol
    Each version is installed from the package index into an environment of its own, and runs the model on silence and
    noise in batches of 1 and 8. Given is the largest difference of its probabilities from those of the version in this
    environment, or what it says instead. To be run by hand after a change of the exporter: it downloads.

    python benchmarks/old_onnxruntime.py [MODEL.onnx …]     the newest export unless told; JSON on the last line
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.model_info import INPUT, PROBABILITIES

ROOT = Path(__file__).resolve().parent.parent
# The oldest wheel for Python 3.11 is of 1.15; all have opset 18. Up to 1.18 they need NumPy 1.
VERSIONS = ("1.15.1", "1.16.3", "1.17.3", "1.18.1", "1.20.1")
NUMPY = "numpy<2"
BATCHES = (1, 8)
PROGRAM = f"""
import sys, numpy, onnxruntime
clips = numpy.load(sys.argv[1])
for model in sys.argv[2:]:
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        parts = [session.run(["{PROBABILITIES}"], {{"{INPUT}": clips[:size]}})[0] for size in {BATCHES}]
        numpy.save(model + ".npy", numpy.concatenate(parts))
    except Exception as error:
        print(" ".join(str(error).split()))
"""


def main() -> None:
    given = sys.argv[1:] or [None]
    models = [locate_model(name, ROOT / "plots" / "runs") for name in given]
    results: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backends = [OnnxBackend(model) for model in models]
        noise = np.random.default_rng(0).uniform(-1, 1, (8, backends[0].info.clip_samples))
        noise[1] = 0
        clips = noise.astype(np.float32)
        np.save(folder / "clips.npy", clips)
        copies = [folder / f"{i}.onnx" for i in range(len(models))]
        for model, copy in zip(models, copies):
            copy.write_bytes(model.read_bytes())
        for version in VERSIONS:
            python = folder / version / "bin" / "python"
            venv.create(folder / version, with_pip=True)
            pip = [python, "-m", "pip", "install", "--quiet", f"onnxruntime=={version}", NUMPY]
            subprocess.run(pip, check=True)
            command = [python, "-c", PROGRAM, folder / "clips.npy", *copies]
            said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            results[version] = {}
            for model, copy, backend in zip(models, copies, backends):
                answers = Path(f"{copy}.npy")
                if not answers.is_file():
                    results[version][model.name] = said
                    continue
                wanted = np.concatenate([backend(clips[:size])[0] for size in BATCHES])
                results[version][model.name] = float(np.abs(np.load(answers) - wanted).max())
                answers.unlink()
            print(version, results[version], file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
