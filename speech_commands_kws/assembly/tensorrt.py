"""Exports a TensorRT plan: built from an exported ONNX file, and kept only if it answers as that file does."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.run_data import recorded_split, sample_evenly, score
from speech_commands_kws.cli.launch import build
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.tensorrt import (
    PLAN_SUFFIX,
    TensorRTBackend,
    import_engine,
)
from speech_commands_kws.packaging.latency import median_latency_ms
from speech_commands_kws.packaging.parity import (
    VariantGate,
    compare,
    largest_difference,
    probe_waveforms,
)
from speech_commands_kws.packaging.tensorrt_plan import build_plan
from speech_commands_kws.tracking import runs

LOG = logging.getLogger(__name__)
FP32 = "fp32"
# What the script writes: the plan last but for the facts, by which it is known.
WRITTEN = (".layers.json", ".log", "", ".json")


def export_plan(cfg: DictConfig) -> float:
    """Build the plan of an ONNX file of a run; returns the largest difference between their answers.

    Raises:
        KwsError: it cannot be built here, or does not answer as the ONNX file does; a plan that was there stays.
    """
    if cfg.register:
        raise KwsError("register=true registers an ONNX file: leave it out with backend=tensorrt")
    gate = build(cfg.plan_gate)
    model = find_onnx(cfg)
    output = Path(str(cfg.output)).expanduser() if cfg.output else model.with_suffix(PLAN_SUFFIX)
    settings = OmegaConf.to_object(cfg.tensorrt)
    LOG.info(build_plan(model, output, "--check", **settings))
    import_engine()
    saved = runs.read_config(model.parent)
    split = recorded_split(saved, OnnxBackend(model).info)
    candidate = output.with_name(f"candidate_{output.name}")
    try:
        LOG.info("building %s, which may take minutes", output)
        LOG.info(build_plan(model, candidate, **settings))
        difference = check_plan(cfg, gate, model, candidate, split)
        for suffix in WRITTEN:
            Path(f"{candidate}{suffix}").replace(f"{output}{suffix}")
    finally:
        for suffix in WRITTEN:
            Path(f"{candidate}{suffix}").unlink(missing_ok=True)
    LOG.info("%s: built from %s", output, model)
    if cfg.get("triton"):
        LOG.info(
            "%s: in the model repository", build(cfg.triton).fill(output, OnnxBackend(model).info)
        )
    return difference


def find_onnx(cfg: DictConfig) -> Path:
    """The ONNX file that `model` names, or that of the run; it lies in the folder of a run.

    Raises:
        KwsError: there is none.
    """
    folder = None if cfg.model else runs.choose_run(cfg.run, cfg.paths.runs)
    model = Path(str(cfg.model)).expanduser() if cfg.model else folder / runs.MODEL_FILE
    if not model.is_file():
        raise KwsError(f"expected an exported model at {model}: write it first with `kws export`")
    if not (model.parent / runs.CONFIG_FILE).is_file():
        raise KwsError(
            f"{model} lies in no run, whose clips a plan is tried on: "
            "give one in a run's folder, or build without the comparison by trt/convert.sh"
        )
    return model


def check_plan(
    cfg: DictConfig, gate: VariantGate, model: Path, plan: Path, split: SplitClips
) -> float:
    """Ask a plan and its ONNX file the same, and log how accurate and how fast both are.

    Returns the largest difference between their outputs.

    Raises:
        KwsError: the plan does not pass the gate.
    """
    expected, engine = OnnxBackend(model), TensorRTBackend(plan)
    clips = sample_evenly(split, cfg.parity.clips)
    waveforms = probe_waveforms(clips, cfg.seed)
    probes = compare(expected, engine, waveforms, cfg.parity.batch_sizes)
    wanted, given = (score(asked, split, cfg.batch_size) for asked in (expected, engine))
    if cfg.tensorrt.precision != FP32:
        gate = replace(gate, difference=None)
    agreement = float(np.mean(wanted.predictions == given.predictions))
    objections = gate.objections(wanted.accuracy - given.accuracy, agreement, probes)
    if objections:
        raise KwsError(f"{plan.name} was not kept: {objections}")
    difference = largest_difference(probes)
    latencies = [median_latency_ms(asked, clips[:1], **cfg.latency) for asked in (expected, engine)]
    LOG.info(
        "accuracy %.4f by onnxruntime, %.4f by the plan; largest difference %.1e; a clip takes %.2f ms and %.2f ms",
        *(wanted.accuracy, given.accuracy, difference, *latencies),
    )
    return difference
