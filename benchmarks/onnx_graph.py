"""What each change to the exported graph brings, waveform to answer, batch 1, one core, in ONNX Runtime.

Protocol
    An untrained network, BC-ResNet-1 unless told (weights do not matter to the time), is exported in several forms:
    with the DFT as plain, folded once and folded twice matrices and in two stages; with the network as it is trained
    and with its normalisations folded; then in int8, of more and of fewer operators, and in fp16. The last fp32 form,
    what `kws export` writes, is also run with batch 1 fixed by a free-dimension override and with other session
    options. The baseline is torch in eager mode with torchaudio's MelSpectrogram. All take the same clip of noise in
    turn, round after round, on one thread, so that a noisy machine disturbs all of them alike. Given are the median
    and the least wall time of a call, its median CPU time, which other programs disturb less, and how many times less
    CPU time than the baseline it takes.

    python benchmarks/onnx_graph.py [Hydra overrides of train]      prints a table, and JSON on the last line
"""

import json
import math
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from hydra import compose, initialize_config_dir
from one_engine import variants
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import MelSpectrogram

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.inference.model_info import INPUT, ModelInfo
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging import onnx_export
from speech_commands_kws.packaging.graph import inference_graph

N_CLASSES = 12
OPSET = 18
LABELS = tuple(f"word {k}" for k in range(N_CLASSES))
SEED = 0
AMPLITUDE = 0.1
WARM_UP, ROUNDS, CALLS = 20, 100, 3
CALIBRATION_CLIPS = 64
OPERATORS = ["Add", "Conv", "Gemm", "MatMul", "Mul", "ReduceMean", "Relu", "Sigmoid"]
PRODUCTS = ["Conv", "Gemm", "MatMul"]
BASELINE = "torch eager, torchaudio's mel"
WRITTEN = "DFT in two stages, normalisations folded (what is exported)"
MS = 1000


class MatrixLogMel(LogMel):
    """The same front-end with another DFT: a plain matrix, or folded about the window's centre and, by the parity of
    the bins, about a quarter of the DFT's length."""

    def __init__(self, folds: int, **settings: Any):
        super().__init__(**settings)
        self.folds = folds
        self.half, self.quarter = self.window_samples // 2, self.n_fft // 4
        bank = melscale_fbanks(
            self.n_fft // 2 + 1,
            settings["f_min"],
            settings["f_max"],
            self.n_mels,
            settings["sample_rate"],
        )
        bins = bank.sum(dim=1).nonzero().squeeze(1)
        parities = [bins[bins % 2 == 0], bins[bins % 2 == 1]] if folds == 2 else [bins]
        lengths = [self.window_samples, self.half, self.quarter + 1]
        window = torch.hann_window(self.window_samples, periodic=True)
        if folds:
            window = window[self.half :].clone()
            window[0] /= 2  # this sample stands in both halves
        for i, part in enumerate(parities):
            angles = 2 * math.pi / self.n_fft * part[:, None] * torch.arange(lengths[folds])
            weights = 1 if folds == 2 else window
            self.register_buffer(f"cosines_{i}", angles.cos() * weights)
            self.register_buffer(f"sines_{i}", angles.sin() * weights)
            self.register_buffer(f"bank_{i}", bank[part].T.contiguous())
        self.register_buffer("half_window", window[:, None])

    def log_mel(self, frames: Tensor) -> Tensor:
        if self.folds == 0:
            return self.energies([(frames, frames)])
        later, earlier = frames[:, self.half :], frames[:, 1 : self.half + 1].flip(1)
        even, odd = later + earlier, later - earlier
        if self.folds == 1:
            return self.energies([(even, odd)])
        sums, differences = zip(self.quartered(even), self.quartered(odd))
        return self.energies([(sums[0], differences[1]), (sums[1], differences[0])])

    def quartered(self, part: Tensor) -> tuple[Tensor, Tensor]:
        windowed = part * self.half_window
        near, far = windowed[:, : self.quarter + 1], windowed[:, self.quarter + 1 :].flip(1)
        far = nn.functional.pad(far, (0, 0, 2 * self.quarter - self.half + 1, 1))
        return near + far, near - far

    def energies(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        mel = self.log_floor
        for i, (even, odd) in enumerate(parts):
            cosines, sines, bank = (
                getattr(self, f"{name}_{i}") for name in ("cosines", "sines", "bank")
            )
            mel = mel + bank @ ((cosines @ even).square() + (sines @ odd).square())
        return torch.log(mel).unsqueeze(1)


class TorchaudioLogMel(nn.Module):
    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        self.mel = MelSpectrogram(
            settings["sample_rate"],
            settings["n_fft"],
            settings["sample_rate"] * settings["window_ms"] // MS,
            settings["sample_rate"] * settings["hop_ms"] // MS,
            settings["f_min"],
            settings["f_max"],
            n_mels=settings["n_mels"],
        )
        self.log_floor = settings["log_floor"]

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.log(self.mel(waveform) + self.log_floor).unsqueeze(1)


def export(spotter: nn.Module, info: ModelInfo, path: Path, folded: bool = True) -> Path:
    """Write a form; `folded` chooses the network."""
    onnx_export.inference_graph = inference_graph if folded else nn.Module.eval
    onnx_export.write_onnx(spotter, info, OPSET, path)
    return path


def session(
    path: Path, batch: int | None = None, threads: int = 1, **changes: Any
) -> Callable[[np.ndarray], Any]:
    """A call of onnxruntime; changes are attributes of its session options."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for name, value in changes.items():
        setattr(options, name, value)
    if batch:
        (shape,) = [value.type.tensor_type.shape for value in onnx.load(path).graph.input]
        options.add_free_dimension_override_by_name(shape.dim[0].dim_param, batch)
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda waveform: opened.run(None, {INPUT: waveform})


def forms(folder: Path, overrides: list[str]) -> tuple[dict[str, Callable], int]:
    """The calls to be compared, and the samples that they take."""
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides)
    frontend = build(cfg.frontend)
    settings = {key: value for key, value in cfg.frontend.items() if not key.startswith("_")}
    backbone = build(cfg.backbone, n_classes=N_CLASSES, n_mels=cfg.frontend.n_mels).eval()
    samples = round(cfg.sample_rate * cfg.clip_seconds)
    info = ModelInfo(LABELS, cfg.sample_rate, samples, settings, {})
    eager = SpotterModule(TorchaudioLogMel(settings), backbone).eval()
    calls: dict[str, Callable[[np.ndarray], Any]] = {
        BASELINE: lambda waveform: eager(torch.from_numpy(waveform)).softmax(dim=1).numpy()
    }
    for folds, name in enumerate(("a plain DFT matrix", "DFT folded once", "DFT folded twice")):
        spotter = SpotterModule(MatrixLogMel(folds, **settings), backbone)
        calls[name] = session(export(spotter, info, folder / f"{folds}.onnx", folded=False))
    spotter = SpotterModule(frontend, backbone)
    unfolded = export(spotter, info, folder / "unfolded.onnx", folded=False)
    calls["DFT in two stages"] = session(unfolded)
    path = export(spotter, info, folder / "model.onnx")
    calls[WRITTEN] = session(path)
    calls["… batch 1 fixed"] = session(path, batch=1)
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    calls["… no blocked layout"] = session(path, graph_optimization_level=level)
    calls["… no arena"] = session(path, enable_cpu_mem_arena=False)
    calls["… no memory pattern"] = session(path, enable_mem_pattern=False)
    calls["… two threads"] = session(path, threads=2)
    calibration = noise(CALIBRATION_CLIPS, samples)
    int8, fp16 = variants()
    for name, variant in {
        "int8 of all operators": replace(int8, operators=OPERATORS, grouped=True),
        "int8 of convolutions and products": replace(int8, operators=PRODUCTS, grouped=True),
        "… but no grouped ones": replace(int8, operators=PRODUCTS),
        "… and relus: int8 as it is exported": int8,
        "fp16": fp16,
    }.items():
        target = folder / f"variant_{len(calls)}.onnx"
        variant.convert(path, target, calibration)
        calls[name] = session(target)
    for target in sorted(folder.glob("*.onnx")):
        print(f"{target.name}: {target.stat().st_size:,} bytes", file=sys.stderr)
    return calls, samples


def noise(clips: int, samples: int) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    return (AMPLITUDE * generator.standard_normal((clips, samples))).astype(np.float32)


@torch.inference_mode()
def measure(calls: dict[str, Callable], waveform: np.ndarray) -> dict[str, dict[str, float]]:
    """Milliseconds of each by name."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call(waveform)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call(waveform)  # its weights come back into the cache
            for _ in range(CALLS):
                wall, cpu = perf_counter(), thread_time()
                call(waveform)
                times[name].append((perf_counter() - wall, thread_time() - cpu))
    figures = {}
    for name, pairs in times.items():
        walls, cpus = zip(*pairs)
        figures[name] = {
            "wall_ms": MS * statistics.median(walls),
            "least_ms": MS * min(walls),
            "cpu_ms": MS * statistics.median(cpus),
        }
    for row in figures.values():
        row["times_faster"] = figures[BASELINE]["cpu_ms"] / row["cpu_ms"]
    return figures


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    print(versions, file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        calls, samples = forms(Path(name), sys.argv[1:])
        figures = measure(calls, noise(1, samples))
    table = Table("form", "wall, ms", "least", "CPU, ms", "times faster")
    for name, row in figures.items():
        times = [f"{row[key]:.3f}" for key in ("wall_ms", "least_ms", "cpu_ms")]
        table.add_row(name, *times, f"{row['times_faster']:.1f}")
    Console(file=sys.stderr).print(table)
    print(json.dumps({"versions": versions, "overrides": sys.argv[1:], "figures": figures}))


if __name__ == "__main__":
    main()
