"""What an export reads of a run: its checkpoint, and the clips of the data that it was trained on."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import build
from speech_commands_kws.data.dataset import SplitClips, labelled_split
from speech_commands_kws.data.speech_tree import VALIDATION
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation import scoring
from speech_commands_kws.evaluation.scoring import Scores
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.spotter import Backend
from speech_commands_kws.models.checkpoint import load_spotter
from speech_commands_kws.models.complexity import complexity
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.tracking import recording, runs


def find_checkpoint(cfg: DictConfig) -> tuple[Path, Path]:
    """The run's folder and the checkpoint to export."""
    if cfg.checkpoint is None:
        folder = runs.choose_run(cfg.run, cfg.paths.runs)
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


def load_trained(folder: Path, checkpoint: Path) -> tuple[SpotterModule, ModelInfo]:
    """The trained module, and what a model file says about it."""
    spotter, facts = load_spotter(checkpoint)
    signal = {key: facts.pop(key) for key in ("labels", "sample_rate", "clip_samples", "frontend")}
    facts |= complexity(spotter, signal["clip_samples"])
    facts |= {"run": recording.run_name(folder), "checkpoint": checkpoint.name}
    signal["labels"] = tuple(signal["labels"])
    return spotter, ModelInfo(**signal, training=facts)


def recorded_split(saved: DictConfig, info: ModelInfo, split: str = VALIDATION) -> SplitClips:
    """A split of the data that a run, with this configuration, was trained on."""
    drawing = {key: saved.loader[key] for key in ("silence_volume", "cache", "seed")}
    source = build(saved.data.source)
    shape = info.labels, info.sample_rate, info.clip_samples
    try:
        return labelled_split(source, split, *shape, **drawing)
    except KwsError as error:
        raise KwsError(
            f"the data that the run was trained on cannot be used: {error}; if they have moved, put them back, or "
            "correct their place in the run's config.yaml"
        ) from error


def sample_evenly(split: SplitClips, count: int) -> np.ndarray:
    """(count, T) clips, spread over the classes."""
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    return np.concatenate([split.waveforms(slice(i, i + 1)) for i in chosen])


def score(backend: Backend, split: SplitClips, batch_size: int) -> Scores:
    return scoring.score(
        lambda waveforms: backend(waveforms)[0], split, backend.info.labels, batch_size
    )


def clips_fingerprint(clips: SplitClips, labels: tuple[str, ...]) -> str:
    """SHA-256 of the recordings, of which clips of them, and of their classes in words."""
    words = [labels[target] for target in clips.targets]
    return sha256(json.dumps([clips.fingerprint, list(clips.names), words]).encode()).hexdigest()
