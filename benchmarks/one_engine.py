"""One engine in this process, for `engines.py`: seconds of each call, clips and CPU time, peak memory, as JSON.

python benchmarks/one_engine.py onnx MODEL.onnx THREADS
python benchmarks/one_engine.py eager|compiled [Hydra overrides of train]
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 16_000
N_CLASSES = 12
CALLS, WARM_UP = 150, 20
KIB = 1024


def noise(clips: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (clips, SAMPLES)).astype(np.float32)


def make_spotter(overrides: list[str]) -> tuple[Any, Any]:
    """An untrained spotter, and what a file says about it."""
    from hydra import compose, initialize_config_dir

    from speech_commands_kws.cli.launch import CONFIG_DIR, build
    from speech_commands_kws.inference.model_info import ModelInfo
    from speech_commands_kws.models.spotter_module import SpotterModule

    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides)
    settings = {key: value for key, value in cfg.frontend.items() if not key.startswith("_")}
    backbone = build(cfg.backbone, n_classes=N_CLASSES, n_mels=cfg.frontend.n_mels)
    labels = tuple(f"word {k}" for k in range(N_CLASSES))
    info = ModelInfo(labels, cfg.sample_rate, SAMPLES, settings, {})
    return SpotterModule(build(cfg.frontend), backbone).eval(), info


def variants() -> list[Any]:
    """In fewer bits, as `kws export` makes them."""
    from hydra import compose, initialize_config_dir

    from speech_commands_kws.cli.launch import CONFIG_DIR, build

    with initialize_config_dir(CONFIG_DIR):
        return [
            build(compose("export", [f"quantize={name}"]).quantize) for name in ("int8", "fp16")
        ]


def torch_call(overrides: list[str], compiled: bool) -> Callable[[np.ndarray], Any]:
    # Here and not above: the memory of onnxruntime is to be its own.
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    spotter, _ = make_spotter(overrides)
    if compiled:
        spotter = torch.compile(spotter)
    return lambda waveform: spotter(torch.from_numpy(waveform)).softmax(dim=1).numpy()


def onnx_call(model: str, threads: int) -> Callable[[np.ndarray], Any]:
    from speech_commands_kws.inference.backends.onnx import OnnxBackend

    return OnnxBackend(model, threads)


def peak_memory() -> int:
    """Bytes; the system's count for a process would begin with that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return KIB * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def main() -> None:
    engine, *words = sys.argv[1:]
    if engine == "onnx":
        call = onnx_call(words[0], int(words[1]))
    else:
        call = torch_call(words, engine == "compiled")
    clip = noise(1)
    for _ in range(WARM_UP):
        call(clip)
    seconds, cpu = [], time.process_time()
    for _ in range(CALLS):
        begin = time.perf_counter()
        call(clip)
        seconds.append(time.perf_counter() - begin)
    result = {
        "seconds": seconds,
        "rate": CALLS / sum(seconds),
        "cpu": (time.process_time() - cpu) / CALLS,
        "memory": peak_memory(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
