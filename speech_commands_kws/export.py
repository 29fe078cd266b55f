"""Export a trained spotter to ONNX: `kws export [run=latest|FOLDER] [quantize=int8|fp16] [register=true]`.

`backend=tensorrt` builds a TensorRT plan of an exported ONNX file.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.delivery import deliver, deliver_variant, write_card
from speech_commands_kws.assembly.registration import register, required_record, validation_split
from speech_commands_kws.assembly.tensorrt import export_plan
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    run_command,
    settings_of,
)
from speech_commands_kws.errors import (
    KwsError,
    check_flag,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.files.atomic import replacing
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.backends.tensorrt import TensorRTBackend
from speech_commands_kws.inference.locate import REGISTERED
from speech_commands_kws.inference.model_info import ArtefactInfo
from speech_commands_kws.models.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.models.complexity import complexity
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.triton_repository import TritonModel
from speech_commands_kws.tracking import recording, registry, runs

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Write the model file; returns its largest difference from the trained module, or a copied file's size.

    A plan is compared with its ONNX file instead.
    """
    check_settings(cfg)
    if str(cfg.model).startswith(REGISTERED):
        return copy_registered(cfg)
    engine = build(cfg.backend).func
    if engine is TensorRTBackend:
        return export_plan(cfg)
    if engine is not OnnxBackend:
        raise KwsError("an export is for backend=onnx or backend=tensorrt: choose one of them")
    folder, checkpoint = find_checkpoint(cfg)
    output = output_file(cfg.output, folder / runs.MODEL_FILE)
    record = required_record(folder) if cfg.register else None
    variant = build(cfg.quantize) if cfg.quantize else None
    triton = build(cfg.triton) if cfg.get("triton") else None
    spotter, info = load_trained(folder, checkpoint)
    saved = runs.read_config(folder)
    split = validation_split(saved, info)
    with runs.log_file(folder):
        model = deliver(cfg, spotter, info, split, output)
    files = [model.path]
    try:
        if variant:
            files.append(deliver_variant(cfg, variant, model, split, saved))
    finally:  # a model whose variant was refused has its card too
        card = write_card(cfg, model, split)
    if triton:
        fill_repository(triton, files)
    figures = {
        registry.PARITY: model.difference,
        registry.LATENCY: model.latency_ms,
        registry.SIZE: model.path.stat().st_size,
    }
    recording.log_to_run(folder, [*files, card], "model", {} if record else figures)
    if record:
        step = read_checkpoint(checkpoint)["global_step"]
        example = model.clips[:1]
        export = registry.Export(model.path, model.info, record.run_id, step, example, figures)
        register(cfg, record.tracking_uri, export, split, saved)
    return model.difference


def check_settings(cfg: DictConfig) -> None:
    """Refuse what would be found only when the file is written."""
    check_flag(register=cfg.register)
    check_whole(batch_size=cfg.batch_size)
    check_whole(0, seed=cfg.seed)
    with settings_of("parity"):
        check_whole(clips=cfg.parity.clips)
        check_positive(tolerance=cfg.parity.tolerance)
        for size in cfg.parity.batch_sizes:
            check_whole(batch_sizes=size)
    with settings_of("detection"):
        check_positive(hop_seconds=cfg.detection.hop_seconds)
        check_number(0, 1, false_alarm_rate=cfg.detection.false_alarm_rate)
    with settings_of("card"):
        check_whole(bins=cfg.card.bins, worst=cfg.card.worst)
    with settings_of("latency"):
        check_whole(repeats=cfg.latency.repeats)
        check_whole(0, warm_up=cfg.latency.warm_up)


def fill_repository(model: TritonModel, files: Sequence[Path]) -> None:
    """Put a model file into Triton's repository, and its variants under names of their own."""
    for path in files:
        info = OnnxBackend(path).info
        precision = info.training["precision"]
        name = model.name if path is files[0] else f"{model.name}_{precision}"
        LOG.info("%s: in the model repository", replace(model, name=name).fill(path, info))


def load_trained(folder: Path, checkpoint: Path) -> tuple[SpotterModule, ArtefactInfo]:
    """The trained module, and what a model file says about it."""
    spotter, facts = load_spotter(checkpoint)
    signal = {key: facts.pop(key) for key in ("labels", "sample_rate", "clip_samples", "frontend")}
    facts |= complexity(spotter, signal["clip_samples"])
    facts |= {"run": recording.run_name(folder), "checkpoint": checkpoint.name}
    signal["labels"] = tuple(signal["labels"])
    return spotter, ArtefactInfo(**signal, training=facts)


def copy_registered(cfg: DictConfig) -> float:
    """Copy a registered model to `output`; returns its size in bytes."""
    if cfg.output is None or cfg.register:
        raise KwsError(
            f"model={cfg.model} copies a registered model: give output=FILE, and no register"
        )
    output = output_file(cfg.output, Path(runs.MODEL_FILE))
    source = build(cfg.registry)(cfg.model)
    with replacing(output) as partial:
        shutil.copyfile(source, partial)
    LOG.info("%s: %s, %d bytes", output, cfg.model, output.stat().st_size)
    return float(output.stat().st_size)


def output_file(name: str | None, default: Path) -> Path:
    """The file to write, known to be one before the work begins.

    Raises:
        KwsError: it has another ending than the default, by which nobody would know what it is, or is a folder.
    """
    path = default if name is None else Path(str(name)).expanduser()
    if path.suffix != default.suffix or path.is_dir():
        raise KwsError(f"output must be a file that ends in {default.suffix}, got {path}")
    return path


def find_checkpoint(cfg: DictConfig) -> tuple[Path, Path]:
    """The run's folder and the checkpoint to export."""
    if cfg.checkpoint is None:
        folder = runs.find_run(cfg.run, cfg.paths.runs)
        return folder, runs.checkpoint_of(folder, runs.BEST, runs.LAST)
    checkpoint = Path(str(cfg.checkpoint)).expanduser().absolute()
    if not checkpoint.is_file():
        raise KwsError(f"expected a checkpoint at {checkpoint}, found none: give another path")
    folder = checkpoint.parent.parent
    if not (folder / runs.CONFIG_FILE).is_file():
        raise KwsError(
            f"expected the checkpoint of a run, {checkpoint} has no {runs.CONFIG_FILE} in the folder above; "
            f"give the one in the run's own folder"
        )
    return folder, checkpoint


@hydra.main(config_path=CONFIG_DIR, config_name="export", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
