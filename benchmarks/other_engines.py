"""Whether OpenVINO or LiteRT run the networks faster than ONNX Runtime, one clip at a time on one thread.

Protocol
    The networks of `engines.py`, untrained, are exported in fp32 and int8 with a batch of 1. OpenVINO reads these files
    (latency mode, one thread, computing in f32: it takes bf16 by itself where a processor has it). For LiteRT onnx2tf
    converts the fp32 file, and quantises it to int8 by its own means, with calibration on the same noise, front-end and
    all, because it does not take a quantised file; its XNNPACK is on. Each engine runs in a fresh process, in turns for
    ROUNDS rounds. Time is the processor time of a call, its median in a round; the ratio is ONNX Runtime's time over
    it, above 1 where the other one is faster, the median of the ratios within each round. The difference is the largest
    one of the probabilities from ONNX Runtime's fp32, for noise and silence.
    Their environment is made by pip in .tools/other_engines (2 GB). To be run by hand; it downloads.

    python benchmarks/other_engines.py [NETWORK | MODEL.onnx ...]     networks unless told; a model has its
                                                                     MODEL.int8.onnx beside it; JSON on the last line
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import onnx
from engines import NETWORKS, export
from one_engine import CALLS, noise

from speech_commands_kws.inference.model_info import INPUT, PROBABILITIES

TOOLS = Path(__file__).resolve().parent.parent / ".tools" / "other_engines"
PACKAGES = """
    openvino==2026.4.1 onnx2tf==1.29.24 tensorflow-cpu==2.19.1 tf-keras onnx onnxruntime
    onnx-graphsurgeon sng4onnx psutil ml_dtypes
""".split()
LITERT = "ai-edge-litert==2.3.0"  # newer than onnx2tf asks for
OTHERS = [name for name in NETWORKS if name != "speech_embedding"]
CLIPS = 16
ROUNDS = 3
# engine, model, clips.npy; writes answers.npy beside the model and prints seconds.
PROGRAM = f"""
import json, sys, time, numpy as np
engine, model, clips = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
if engine == "onnxruntime":
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    call = lambda clip: session.run(["{PROBABILITIES}"], {{"{INPUT}": clip}})[0]
elif engine == "OpenVINO":
    import openvino
    settings = {{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    call = lambda clip: request.infer({{"{INPUT}": clip}})["{PROBABILITIES}"]
else:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    made = [each for each in interpreter.get_output_details()]
    def value(each):
        scale, zero = each["quantization"]
        found = interpreter.get_tensor(each["index"])
        return (found.astype(np.float32) - zero) * scale if scale else found
    def call(clip):
        scale, zero = given["quantization"]
        if scale:
            clip = np.clip(np.round(clip / scale) + zero, -128, 127).astype(given["dtype"])
        interpreter.set_tensor(given["index"], clip)
        interpreter.invoke()
        # Of the two outputs, the probabilities are those that add up to 1.
        return min(map(value, made), key=lambda found: abs(found.sum() - 1))
answers = [np.array(call(clip[None])).copy() for clip in clips]
np.save(model + "." + engine + ".npy", np.concatenate(answers))
seconds = []
for k in range({CALLS}):
    begin = time.process_time()
    call(clips[k % len(clips)][None])
    seconds.append(time.process_time() - begin)
print(json.dumps(sorted(seconds)[len(seconds) // 2]))
"""


def make_tools() -> None:
    """Make the environment, if it is not there."""
    ready = TOOLS / "ready"
    if not ready.is_file():
        venv.create(TOOLS, with_pip=True, clear=True)
        pip = [TOOLS / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", LITERT], check=True)
        ready.touch()


def fix_batch(path: Path) -> Path:
    """The same file for one clip at a time."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def to_litert(path: Path, clips: Path, folder: Path) -> dict[str, Path]:
    """The files of LiteRT by precision; none where the conversion failed."""
    command = [
        TOOLS / "bin" / "onnx2tf",
        "-i",
        path,
        "-o",
        folder,
        "-oiqt",
        "-cind",
        INPUT,
        clips,
        "[[0]]",
        "[[1]]",
    ]
    subprocess.run(list(map(str, command)), capture_output=True, cwd=path.parent)
    names = {
        "fp32": f"{path.stem}_float32.tflite",
        "int8": f"{path.stem}_full_integer_quant.tflite",
    }
    return {key: folder / name for key, name in names.items() if (folder / name).is_file()}


def seconds_of(engine: str, model: Path, clips: Path) -> float | str:
    python = sys.executable if engine == "onnxruntime" else TOOLS / "bin" / "python"
    command = [python, "-c", PROGRAM, engine, model, clips]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no reason"])[-1]
    return float(json.loads(done.stdout.splitlines()[-1]))


def compare(name: str, folder: Path) -> dict[str, dict[str, float | str]]:
    if name in NETWORKS:
        export(NETWORKS[name], folder)
    else:
        folder.mkdir()
        shutil.copyfile(name, folder / "fp32.onnx")
        shutil.copyfile(Path(name).with_suffix(".int8.onnx"), folder / "int8.onnx")
    clips = folder / "clips.npy"
    sound = noise(CLIPS)
    sound[1] = 0
    np.save(clips, sound)
    files = {
        (engine, precision): fix_batch(folder / f"{precision}.onnx")
        for precision in ("fp32", "int8")
        for engine in ("onnxruntime", "OpenVINO")
    }
    converted = to_litert(folder / "fp32.onnx", clips, folder / "litert")
    files |= {("LiteRT", precision): path for precision, path in converted.items()}
    rounds = [
        {
            (engine, precision): seconds_of(engine, path, clips)
            for (engine, precision), path in files.items()
        }
        for _ in range(ROUNDS)
    ]
    wanted = np.load(folder / "fp32.onnx.onnxruntime.npy")
    rows = {}
    for (engine, precision), path in files.items():
        found = [each[engine, precision] for each in rounds]
        if any(isinstance(value, str) for value in found):
            rows[f"{engine} {precision}"] = {"failed": str(found[0])}
            continue
        ratios = [each["onnxruntime", precision] / each[engine, precision] for each in rounds]
        answers = np.load(f"{path}.{engine}.npy")
        rows[f"{engine} {precision}"] = {
            "cpu_ms": 1000 * statistics.median(found),
            "ratio": statistics.median(ratios),
            "difference": float(np.abs(answers - wanted).max()),
        }
    return rows


def main() -> None:
    make_tools()
    results = {}
    for name in sys.argv[1:] or OTHERS:
        folder = Path(tempfile.mkdtemp())
        try:
            results[name] = compare(name, folder / "files")
        finally:
            shutil.rmtree(folder)
        for row, facts in results[name].items():
            print(name, row, facts, file=sys.stderr, flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
