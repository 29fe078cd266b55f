"""Export a trained spotter to ONNX, and register it on request: `kws export [run=latest|FOLDER] [register=true]`.

`backend=tensorrt` builds a TensorRT plan of an exported ONNX file.
"""

import logging
import shutil
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws import runs, tracking
from speech_commands_kws.artefact import ArtefactInfo
from speech_commands_kws.backends.onnx import OnnxBackend
from speech_commands_kws.backends.tensorrt import TensorRTBackend
from speech_commands_kws.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.composition import CONFIG_DIR, EXECUTION_WHITELIST, build, run_command
from speech_commands_kws.errors import KwsError
from speech_commands_kws.output import replacing
from speech_commands_kws.packaging import registry
from speech_commands_kws.packaging.latency import median_latency_ms
from speech_commands_kws.packaging.onnx_export import check_parity, trial_waveforms, write_onnx
from speech_commands_kws.plan_export import export_plan
from speech_commands_kws.registration import (
    register,
    required_record,
    spread_clips,
    validation_split,
)

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Write the model file; returns its largest difference from the trained module, or a copied file's size.

    A plan is compared with its ONNX file instead.
    """
    if cfg.model_uri is not None:
        return copy_registered(cfg)
    engine = build(cfg.backend).func
    if engine is TensorRTBackend:
        return export_plan(cfg)
    if engine is not OnnxBackend:
        raise KwsError("an export is for backend=onnx or backend=tensorrt: choose one of them")
    folder, checkpoint = find_checkpoint(cfg)
    record = required_record(folder) if cfg.register else None
    spotter, facts = load_spotter(checkpoint)
    info = ArtefactInfo(
        labels=tuple(facts.pop("labels")),
        sample_rate=facts.pop("sample_rate"),
        clip_samples=facts.pop("clip_samples"),
        frontend=facts.pop("frontend"),
        training=facts | {"run": tracking.run_name(folder), "checkpoint": checkpoint.name},
    )
    output = Path(cfg.output) if cfg.output else folder / runs.MODEL_FILE
    saved = OmegaConf.load(folder / runs.CONFIG_FILE)
    split = validation_split(saved, info)
    clips = spread_clips(split, cfg.parity.clips)
    with replacing(output) as partial:
        write_onnx(spotter, info, cfg.opset, partial)
        difference = check_parity(
            spotter,
            partial,
            trial_waveforms(clips, cfg.seed),
            cfg.parity.batch_sizes,
            cfg.parity.tolerance,
        )
    figures = {
        registry.PARITY: difference,
        registry.LATENCY: median_latency_ms(OnnxBackend(output), clips[:1], **cfg.latency),
        registry.SIZE: output.stat().st_size,
    }
    LOG.info(
        "%s: %d bytes, differs from torch by at most %.1e, takes %.2f ms a clip on one thread",
        *(output, figures[registry.SIZE], difference, figures[registry.LATENCY]),
    )
    if cfg.triton is not None:
        LOG.info("%s: in the model repository", build(cfg.triton).fill(output, info))
    tracking.log_to_run(folder, [output], "model", {} if record else figures)
    if record:
        step = read_checkpoint(checkpoint)["global_step"]
        export = registry.Export(output, info, record.run_id, step, clips[:1], figures)
        register(cfg, record.tracking_uri, export, split, saved)
    return difference


def copy_registered(cfg: DictConfig) -> float:
    """Copy a registered model to `output`; returns its size in bytes."""
    if cfg.output is None or cfg.register:
        raise KwsError("model_uri= copies a registered model: give output=FILE, and no register")
    source = build(cfg.registry)(cfg.model_uri)
    output = Path(cfg.output)
    with replacing(output) as partial:
        shutil.copyfile(source, partial)
    LOG.info("%s: %s, %d bytes", output, cfg.model_uri, output.stat().st_size)
    return float(output.stat().st_size)


def find_checkpoint(cfg: DictConfig) -> tuple[Path, Path]:
    """The run's folder and the checkpoint to export."""
    if cfg.checkpoint is None:
        folder = runs.find_run(cfg.run, cfg.paths.runs)
        return folder, runs.checkpoint_of(folder, runs.BEST, runs.LAST)
    checkpoint = Path(cfg.checkpoint).absolute()
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
