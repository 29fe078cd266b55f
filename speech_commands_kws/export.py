"""Export a trained spotter to ONNX: `python -m speech_commands_kws.export [run=latest|FOLDER]`."""

import logging
from pathlib import Path

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws import runs, tracking
from speech_commands_kws.artefact import ArtefactInfo
from speech_commands_kws.checkpoint import load_spotter
from speech_commands_kws.composition import CONFIG_DIR, EXECUTION_WHITELIST, build, run_command
from speech_commands_kws.data.labelled_split import labelled_split
from speech_commands_kws.data.tree import VALIDATION
from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging.onnx_export import check_parity, trial_waveforms, write_onnx

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Write `model.onnx`; returns its largest difference from the trained module."""
    folder, checkpoint = find_checkpoint(cfg)
    spotter, facts = load_spotter(checkpoint)
    info = ArtefactInfo(
        labels=tuple(facts.pop("labels")),
        sample_rate=facts.pop("sample_rate"),
        clip_samples=facts.pop("clip_samples"),
        frontend=facts.pop("frontend"),
        training=facts | {"run": folder.name, "checkpoint": checkpoint.name},
    )
    output = Path(cfg.output) if cfg.output else folder / runs.MODEL_FILE
    output.parent.mkdir(parents=True, exist_ok=True)
    clips = validation_clips(OmegaConf.load(folder / runs.CONFIG_FILE), info, cfg.parity.clips)
    partial = output.with_name(f".{output.name}.partial")
    try:
        write_onnx(spotter, info, cfg.opset, partial)
        difference = check_parity(
            spotter,
            partial,
            trial_waveforms(clips, cfg.seed),
            cfg.parity.batch_sizes,
            cfg.parity.tolerance,
        )
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    tracking.log_model_file(folder, output)
    LOG.info(
        "%s: %d bytes, differs from torch by at most %.1e",
        output,
        output.stat().st_size,
        difference,
    )
    return difference


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


def validation_clips(saved: DictConfig, info: ArtefactInfo, count: int) -> np.ndarray:
    """(count, T) validation clips of the data that the run was trained on, spread over the classes."""
    drawing = {key: saved.loader[key] for key in ("silence_volume", "cache", "seed")}
    source = build(saved.data.source)
    split = labelled_split(
        source, VALIDATION, info.labels, info.sample_rate, info.clip_samples, **drawing
    )
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    waveforms = np.concatenate(list(split.batches(count)))
    return waveforms[chosen]


@hydra.main(config_path=CONFIG_DIR, config_name="export", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
