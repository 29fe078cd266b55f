"""`kws export backend=tensorrt`, where the programs and the engine have stand-ins: the plan is the ONNX file itself."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE_RATE, TINY_LABELS, burst
from hydra import compose, initialize_config_dir
from tensorrt_programs import NVIDIA_SMI, TRTEXEC

from speech_commands_kws import export
from speech_commands_kws.assembly import tensorrt
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend

# It notes what it was asked, and its plan is the ONNX file.
COPYING = TRTEXEC.replace("printf 'a plan' >\"$plan\"", 'cp "${1#--onnx=}" "$plan"')
FP32_LAYERS = '{"Format/Datatype": "Row major linear FP32"}'
FASTER = ["latency.repeats=2", "latency.warm_up=1", "parity.batch_sizes=[1,2]"]


class Clips:
    """Bursts, and what they are."""

    targets = np.array([2, 3, 1, 2])
    names = [f"{i}.wav" for i in range(4)]
    fingerprint = "bursts"

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        yield self.waveforms(slice(None))

    def waveforms(self, part: slice) -> np.ndarray:
        return np.stack([burst(TINY_LABELS[target]) for target in self.targets[part]])


@pytest.fixture
def run_folder(tmp_path: Path, make_tiny_onnx: Callable, monkeypatch) -> Path:
    """The folder of a run with an export, on a machine with programs that stand in for a GPU's."""
    folder = tmp_path / "plots/runs/2030-01-01_00-00-00_x"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/best.ckpt").touch()
    (folder / "config.yaml").write_text("data: {name: x}\nloader: {seed: 0}")
    make_tiny_onnx(folder / "model.onnx")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"trtexec": COPYING, "nvidia-smi": NVIDIA_SMI}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("LAYERS", FP32_LAYERS)
    monkeypatch.setattr(tensorrt, "import_engine", lambda: None)
    monkeypatch.setattr(tensorrt, "TensorRTBackend", OnnxBackend)
    monkeypatch.setattr(tensorrt, "recorded_split", lambda saved, info: Clips())
    return folder


def exported(root: Path, *overrides: str) -> float:
    with initialize_config_dir(CONFIG_DIR):
        given = ["backend=tensorrt", f"paths.root={root}", *FASTER, *overrides]
        return export.run(compose("export", given))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_plan_is_kept_that_answers_as_its_onnx_file(run_folder, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    before = left(run_folder)
    assert exported(tmp_path, "tensorrt.max_batch=64") < 1e-6
    plan = run_folder / "model.plan"
    written = {f"model.plan{end}" for end in ("", ".json", ".layers.json", ".log")}
    assert left(run_folder) == before | written | {"timing.cache"}
    assert plan.read_bytes() == (run_folder / "model.onnx").read_bytes()
    facts = json.loads(Path(f"{plan}.json").read_text())
    assert (facts["onnx"], facts["batch"]) == ("model.onnx", [1, 1, 64])
    assert f"--maxShapes=waveform:64x{SAMPLE_RATE}" in (tmp_path / "notes").read_text()
    assert "accuracy 1.0000 by onnxruntime, 1.0000 by the plan" in caplog.text


def test_another_answer_is_not_kept_and_the_plan_before_stays(
    run_folder, tmp_path, make_tiny_onnx, monkeypatch
) -> None:
    exported(tmp_path)
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    other = make_tiny_onnx(tmp_path / "other.onnx", scale=-20)
    monkeypatch.setattr(tensorrt, "TensorRTBackend", lambda plan: OnnxBackend(other))
    with pytest.raises(
        KwsError, match="not kept: it loses 100.*; it agrees on 0.0% of .*; its outputs differ by"
    ):
        exported(tmp_path)
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before


def test_what_cannot_be_is_known_before_anything_is_built(run_folder, tmp_path, monkeypatch):
    refusals = {
        "register=true": "leave it out with backend=tensorrt",
        "tensorrt.opt_batch=33": "min_batch <= opt_batch <= max_batch, got 1, 33, 32",
        f"model={tmp_path}/gone.onnx": "expected an exported model at .*gone.onnx: write it first",
        f"model={tmp_path}/notes": "lies in no run, whose clips a plan is tried on",
    }
    (tmp_path / "notes").touch()
    for override, message in refusals.items():
        with pytest.raises(KwsError, match=message):
            exported(tmp_path, override)
    monkeypatch.setenv("GPU", "")
    # Nor is TensorRT looked for where there is no GPU.
    monkeypatch.setattr(tensorrt, "import_engine", lambda: pytest.fail("looked for TensorRT"))
    with pytest.raises(KwsError, match="no NVIDIA GPU here .nvidia-smi finds none."):
        exported(tmp_path)
    assert "model.plan" not in left(run_folder) and (tmp_path / "notes").read_text() == ""


def test_an_export_is_for_one_of_two_engines(run_folder, tmp_path) -> None:
    with pytest.raises(KwsError, match="for backend=onnx or backend=tensorrt"):
        exported(tmp_path, "backend=triton")
