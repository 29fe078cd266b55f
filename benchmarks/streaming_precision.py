"""What fewer bits do to the graph for streams: its size, its processor time, and whether its answers drift away.

Protocol
    The model of a run is quantised as `quantize=int8` does it for clips, with calls of 100 ms and the state of the
    stream, on two minutes of clips of the training split, noise, clipping and silence; and cast to half precision
    after the logarithm, but for sound, state and scores. Ten minutes of clips of the validation split, laid end to end,
    are one stream, which each form hears in calls of 100 ms. Given are the largest and the mean difference of its
    probabilities from those in single precision, in the first and in the last minute, which must not grow; the share
    of frames with the same most probable label; the events of the detector at the file's thresholds; bytes; and the
    25th percentile of the processor time for a second of sound, the forms taking turns on one thread. With a width, an
    untrained network of this `backbone.width`, whose answers mean nothing, is measured for bytes and time too.

    python benchmarks/streaming_precision.py MODEL.streaming.onnx [WIDTH]      a model in the folder of its run; prints
    a table, and JSON on the last line
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from one_engine import variants
from onnxruntime.transformers.float16 import convert_float_to_float16
from rich.console import Console
from rich.table import Table
from streaming_cost import CALL, RATE, exported, measure, stateful

from speech_commands_kws.assembly.run_data import recorded_split, sample_evenly
from speech_commands_kws.data.speech_tree import TRAIN, VALIDATION
from speech_commands_kws.inference.detector import Detector
from speech_commands_kws.inference.model_info import INPUT, STATE
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.packaging.parity import probe_waveforms
from speech_commands_kws.packaging.quantize import front_end_nodes
from speech_commands_kws.tracking import runs

CALIBRATION_CLIPS, PROBES, MINUTES, SECONDS = 120, 2, 10, 60
KB = 1000
FULL = "fp32"
UNTOUCHED = ("Split", "Softmax")  # what else than the front-end stays in single precision


def calls(model: StreamingModel, sound: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """What a model is called with while it hears a stream (T,)."""
    state = model.initial_state()
    for start in range(0, len(sound) - CALL + 1, CALL):
        waveform = sound[np.newaxis, start : start + CALL]
        yield {INPUT: waveform, STATE: state}
        _, state = model(waveform, state)


def forms(source: Path, sound: np.ndarray, folder: Path) -> dict[str, Path]:
    """The files of a model in fewer bits, calibrated on a stream (T,)."""
    paths = {FULL: source} | {name: folder / f"{name}.onnx" for name in ("int8", "fp16")}
    int8, _ = variants()
    int8.convert_by_calls(onnx.load(source), paths["int8"], calls(StreamingModel(source), sound))
    model = onnx.load(source)
    kept = front_end_nodes(model)
    kept += [node.name for node in model.graph.node if node.op_type in UNTOUCHED]
    halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    onnx.save(halved, paths["fp16"])
    return paths


def stream_of(model: StreamingModel, folder: Path, split: str, clips: int) -> np.ndarray:
    """Clips (n, T) of a split of the run's data."""
    return sample_evenly(recorded_split(runs.read_config(folder), model.info, split), clips)


def answers(path: Path, sound: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Probabilities (F, K), and the keywords that the detector hears."""
    model = StreamingModel(path)
    rows = model.rows(sound, repeat(CALL // model.hop_samples))
    detector = Detector.from_settings(model.info.labels, model.frame_ms, model.info.detector)
    return rows, [event.keyword for event in [*detector(rows), *detector.finish()]]


def drift(paths: dict[str, Path], sound: np.ndarray) -> dict[str, dict[str, Any]]:
    expected, events = answers(paths[FULL], sound)
    found = {FULL: {"events": len(events)}}
    for name in paths.keys() - {FULL}:
        rows, events = answers(paths[name], sound)
        minutes = np.array_split(np.abs(rows - expected), MINUTES)
        found[name] = {
            "largest": [float(minute.max()) for minute in minutes],
            "mean": [float(minute.mean()) for minute in minutes],
            "same label": float(np.mean(rows.argmax(1) == expected.argmax(1))),
            "events": len(events),
        }
    return found


def costs(paths: dict[str, Path]) -> dict[str, dict[str, float]]:
    times = measure({name: stateful(path) for name, path in paths.items()}, {})
    return {name: {"bytes": paths[name].stat().st_size, "ms": time} for name, time in times.items()}


def main() -> None:
    source, widths = Path(sys.argv[1]), sys.argv[2:]
    model = StreamingModel(source)
    training = stream_of(model, source.parent, TRAIN, CALIBRATION_CLIPS)
    others = probe_waveforms(training[:PROBES], seed=0)
    calibration = np.concatenate([training, *others.values()]).reshape(-1)
    sound = stream_of(model, source.parent, VALIDATION, MINUTES * SECONDS).reshape(-1)
    table = Table("network", "form", "kB", "ms", "ratio", "largest", "mean", "same", "events")
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        paths = forms(source, calibration, Path(temporary))
        drifts = drift(paths, sound)
        results[source.parent.name] = {
            name: cost | drifts[name] for name, cost in costs(paths).items()
        }
        for width in widths:
            overrides = [f"backbone.width={width}", "backbone.fast_training=false"]
            untrained = exported("bc_resnet_streaming", Path(temporary), *overrides)
            noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
            results[f"width {width}"] = costs(forms(untrained, noise, Path(temporary)))
    for network, found in results.items():
        for name, facts in found.items():
            ends = [
                f"{facts[kind][0]:.2g}, {facts[kind][-1]:.2g}" if kind in facts else ""
                for kind in ("largest", "mean")
            ]
            same = f"{facts['same label']:.2%}" if "same label" in facts else ""
            table.add_row(
                *(network, name, f"{facts['bytes'] / KB:.0f}", f"{facts['ms']:.2f}"),
                *(f"{facts['ms'] / found[FULL]['ms']:.2f}", *ends, same),
                str(facts.get("events", "")),
            )
    Console().print(table)
    json.dump(results, sys.stdout)
    print()


if __name__ == "__main__":
    main()
