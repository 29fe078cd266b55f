"""What `evaluate` needs, found and opened from its configuration: the model and the clips that it is scored on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import engine_of
from speech_commands_kws.cli.launch import build
from speech_commands_kws.data.dataset import SplitClips, labelled_folder, labelled_split
from speech_commands_kws.data.speech_tree import SPLITS
from speech_commands_kws.errors import KwsError, check_whole
from speech_commands_kws.evaluation.scoring import Predict
from speech_commands_kws.files.dvc import dvc_pointer, ensure_present
from speech_commands_kws.inference.backends.tensorrt import PLAN_SUFFIX
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.tracking import runs

FORMATS = ("table", "json")
CHECKPOINT_SUFFIX = ".ckpt"


class EvaluationData(NamedTuple):
    """What a model is scored on: its name in titles and in that of the pictures' folder."""

    clips: SplitClips
    title: str
    folder_name: str
    description: str


def check_settings(cfg: DictConfig) -> None:
    """Refuse what would fail only after the scoring."""
    for name, choices in (("format", FORMATS), ("split", SPLITS)):
        if cfg[name] not in choices:
            raise KwsError(f"expected {name} to be one of {', '.join(choices)}, got {cfg[name]}")
    if cfg.input is not None and cfg.get("data"):
        raise KwsError("both input= and data= say what to score: leave one of them out")
    check_whole(bins=cfg.bins, worst=cfg.worst, batch_size=cfg.batch_size)


def find_model(cfg: DictConfig) -> tuple[Path, Path | None]:
    """The model file asked for, and the folder of the run that it lies in, if any."""
    if cfg.model is None:
        folder = runs.choose_run(cfg.run, cfg.paths.runs)
        return runs.checkpoint_of(folder, runs.BEST, runs.LAST), folder
    path = locate_model(cfg.model, cfg.paths.runs, build(cfg.registry))
    around = (path.absolute().parent, path.absolute().parent.parent)
    return path, next((folder for folder in around if (folder / runs.CONFIG_FILE).is_file()), None)


def open_model(path: Path, cfg: DictConfig) -> tuple[ModelInfo, Predict]:
    """What a model says of itself, and how to ask it: waveforms (B, T) to probabilities (B, K)."""
    if engine_of(cfg.backend).is_server:
        raise KwsError("evaluate runs a file: give backend=onnx or backend=tensorrt, no server")
    if path.suffix == CHECKPOINT_SUFFIX:
        if engine_of(cfg.backend).suffix == PLAN_SUFFIX:
            raise KwsError(f"{path} is a checkpoint: backend=tensorrt needs model=FILE.plan")
        return open_checkpoint(path)
    backend = build(cfg.backend)(path)
    if backend.info.streaming:
        raise KwsError(
            f"{path} listens to a stream: add protocol=streaming, or give the {runs.MODEL_FILE} beside it"
        )
    return backend.info, lambda waveforms: backend(waveforms)[0]


def open_checkpoint(path: Path) -> tuple[ModelInfo, Predict]:
    # Here and not above: to score an exported model needs no torch.
    import torch

    from speech_commands_kws.models.checkpoint import load_spotter

    spotter, facts = load_spotter(path)
    settings = {key: facts[key] for key in ("sample_rate", "clip_samples", "frontend")}

    @torch.inference_mode()
    def predict(waveforms: np.ndarray) -> np.ndarray:
        return spotter(torch.from_numpy(waveforms)).softmax(dim=1).numpy()

    return ModelInfo(labels=tuple(facts["labels"]), training=facts, **settings), predict


def open_data(cfg: DictConfig, info: ModelInfo, run_folder: Path | None) -> EvaluationData:
    """The clips of a folder, of the data asked for, or of the data that the run was trained on."""
    signal = (info.labels, info.sample_rate, info.clip_samples)
    if cfg.input is not None:
        folder = Path(str(cfg.input)).expanduser()
        if dvc_pointer(folder):
            ensure_present(folder)
        clips = labelled_folder(folder, *signal, cfg.loader.cache)
        return EvaluationData(
            clips, str(folder), folder.absolute().name, "recordings from a folder"
        )
    saved = runs.read_config(run_folder) if run_folder else None
    data = cfg.get("data") or (saved and saved.data)
    if not data:
        raise KwsError(
            "this model lies in no run that tells what to score it on: "
            "give input=FOLDER, or data=... such as data=speech_commands"
        )
    loader = (saved or cfg).loader
    drawing = {key: loader[key] for key in ("silence_volume", "cache", "seed")}
    clips = labelled_split(build(data.source), cfg.split, *signal, **drawing)
    folder_name = f"{data.name}_{cfg.split}" if cfg.get("data") else cfg.split
    title = f"{data.name}, {cfg.split} split"
    return EvaluationData(clips, title, folder_name, data.get("description") or "")


def pictures_folder(cfg: DictConfig, run_folder: Path | None, data: EvaluationData) -> Path:
    if cfg.folder is not None:
        return Path(str(cfg.folder)).expanduser()
    return (run_folder or Path(cfg.paths.plots)) / f"evaluation_{data.folder_name}"
