"""Shared fixtures: a keyword spotter so small that its answers are known by heart, and its use."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper
from tones import make_tree

from speech_commands_kws.commands import main as kws

REPOSITORY = Path(__file__).resolve().parent.parent

SAMPLE_RATE = 16_000
FRONTEND = {
    "sample_rate": SAMPLE_RATE,
    "window_ms": 30,
    "hop_ms": 10,
    "n_fft": 512,
    "n_mels": 40,
    "f_min": 0,
    "f_max": 8000,
    "log_floor": 1e-6,
}
TINY_LABELS = ["_silence_", "_unknown_", "yes", "no"]
TINY_SCALE = 20.0
MOST_PROCESSES = 8
# For commands that a test types: no MLflow server of whoever runs the tests is asked.
NO_SERVER = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
LONGEST = [
    *("test_readme", "test_sweeper_processes", "test_pipeline"),
    *("test_record", "test_export", "test_training"),
]
TINY_METADATA = {
    "labels": json.dumps(TINY_LABELS),
    "sample_rate": json.dumps(SAMPLE_RATE),
    "clip_samples": json.dumps(SAMPLE_RATE),
    "frontend": json.dumps({"n_mels": 40}),
    "training": json.dumps({"run": "tiny", "accuracy": 0.5}),
}


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores, because many tests wait: for a server, a killed process, a disk."""
    return min(1 + (os.cpu_count() or 1), MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each process begins with some of the longest files, so that none ends with them while the others wait.

    pytest-xdist gives each an equal part of the list, and later what is left over of the others.
    """
    n_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    others = [item for item in items if item.path.stem not in LONGEST]
    ordered: list[pytest.Item] = []
    for k in range(n_processes):
        files = LONGEST[k::n_processes]
        own = sorted(
            (item for item in items if item.path.stem in files),
            key=lambda item: files.index(item.path.stem),
        )
        room = max(len(items) // n_processes - len(own), 0)
        ordered += own + others[:room]
        others = others[room:]
    items[:] = ordered + others


def build_tiny_onnx(
    path: Path, metadata: dict[str, str] | None = None, scale: float = TINY_SCALE
) -> Path:
    """An ONNX keyword spotter without weights: the quarter of the clip that holds the most energy
    is the keyword.

    Logit k is `scale` times the mean square of the k-th quarter of the clip, so that a burst in the
    third quarter is a "yes".
    """
    metadata = TINY_METADATA if metadata is None else metadata
    clip_samples = SAMPLE_RATE
    keywords = len(TINY_LABELS)
    constants = [
        numpy_helper.from_array(np.array([0, keywords, clip_samples // keywords]), "quarters"),
        numpy_helper.from_array(np.array([2]), "time_axis"),
        numpy_helper.from_array(np.float32(scale), "scale"),
    ]
    nodes = [
        helper.make_node("Reshape", ["waveform", "quarters"], ["segments"]),
        helper.make_node("Mul", ["segments", "segments"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "time_axis"], ["energy"], keepdims=0),
        helper.make_node("Mul", ["energy", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    scores = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", keywords])
        for name in ("probabilities", "logits")
    ]
    waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", clip_samples])
    graph = helper.make_graph(nodes, "tiny", [waveform], scores, initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyword spotter with the labels `TINY_LABELS` at 16 kHz; see `build_tiny_onnx`."""
    return build_tiny_onnx(tmp_path_factory.mktemp("tiny") / "model.onnx")


@pytest.fixture
def make_tiny_onnx() -> Callable[..., Path]:
    """`build_tiny_onnx`, for variants with other metadata or another scale."""
    return build_tiny_onnx


def burst(keyword: str, sample_rate: int = SAMPLE_RATE, seconds: float = 1.0) -> np.ndarray:
    """A clip that `tiny_onnx` takes for `keyword`: a tone in one quarter of its first second."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    quarter = TINY_LABELS.index(keyword)
    inside = (quarter / len(TINY_LABELS) <= time) & (time < (quarter + 1) / len(TINY_LABELS))
    return (0.5 * np.sin(2 * np.pi * 440 * time) * inside).astype(np.float32)


@pytest.fixture
def burst_wav(tmp_path: Path) -> Callable[..., Path]:
    """Writes `burst(keyword)` to a file: `burst_wav("yes.flac", "yes", 44_100, channels=2)`."""

    def write(
        name: str, keyword: str, sample_rate: int = SAMPLE_RATE, channels: int = 1, **options
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        waveform = burst(keyword, sample_rate)
        soundfile.write(path, np.tile(waveform[:, None], (1, channels)), sample_rate, **options)
        return path

    return write


class Done(NamedTuple):
    """What a command left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def type_kws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs a command in this process: `type_kws("enroll", "word=lights")`."""

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()  # what was said before
        monkeypatch.setattr(sys, "argv", ["kws", *map(str, arguments)])
        try:
            status = kws()
        except SystemExit as stop:
            status = stop.code
        output = capsys.readouterr()
        return Done(status, output.out, output.err)

    return run


class Outcome:
    """What `kws infer` left: exit status, standard output, and the lines of complaint."""

    def __init__(self, status: int, output: str, complaints: str) -> None:
        self.status = status
        self.output = output
        self.complaints = complaints.splitlines()

    @property
    def heard(self) -> dict[str, list[str]]:
        """Keywords by file name, out of CSV."""
        heard: dict[str, list[str]] = {}
        for row in csv.DictReader(io.StringIO(self.output)):
            heard.setdefault(Path(row["file"]).name, []).append(row["label"])
        return heard


@pytest.fixture
def answer(
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    type_kws: Callable[..., Done],
) -> Callable[..., Outcome]:
    """Runs `kws infer` in `tmp_path`, by default for one keyword a window as CSV."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        defaults = [f"model={tiny_onnx}", "format=csv", "top_k=1"]
        done = type_kws("infer", *defaults, *arguments)
        return Outcome(done.status, done.out, done.err)

    return run


def module_command(*arguments: str) -> list[str]:
    """A fresh process of `infer`."""
    return [sys.executable, "-m", "speech_commands_kws.infer", *arguments]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of tones, to be read only; what is packed of it may lie beside it."""
    return make_tree(tmp_path_factory.mktemp("recordings") / "tree")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow store, to be copied: MLflow needs seconds for making one."""
    from speech_commands_kws.tracking.mlflow_run import client_of
    from speech_commands_kws.tracking.mlflow_store import sqlite_uri

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    client_of(sqlite_uri(path)).search_experiments()
    return path


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def set_threads():
    """Gives torch so many threads, until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
