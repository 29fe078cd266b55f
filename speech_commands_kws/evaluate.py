"""Score a checkpoint or an exported model on a split or a folder: `kws evaluate model.onnx`."""

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, build, run_answering
from speech_commands_kws.data.labelled_folder import LabelledFolder
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation import scoring, tables
from speech_commands_kws.evaluation.robustness import Robustness
from speech_commands_kws.evaluation.scoring import LabelledClips, Predict, Scores
from speech_commands_kws.figures.evaluation import draw
from speech_commands_kws.figures.robustness import plot_robustness
from speech_commands_kws.files.atomic import write_json_file, written_to
from speech_commands_kws.files.dvc import dvc_pointer, ensure_present
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.model_info import ArtefactInfo
from speech_commands_kws.tracking import runs

FORMATS = ("table", "json")
SPLITS = ("train", "validation", "test")
TENSORRT = "speech_commands_kws.inference.backends.tensorrt.TensorRTBackend"
CHECKPOINT_SUFFIX = ".ckpt"


class Material(NamedTuple):
    """What a model is scored on: its name in titles and in that of the pictures' folder."""

    clips: LabelledClips
    title: str
    folder_name: str
    description: str


def run(cfg: DictConfig) -> float:
    """Write figures to standard output and pictures into a folder; return the accuracy."""
    check_settings(cfg)
    tests = build(cfg.robustness) if cfg.robustness else None
    path, run_folder = find_model(cfg)
    info, predict = open_model(path, cfg)
    material = open_material(cfg, info, run_folder)
    clips = material.clips
    folder = pictures_folder(cfg, run_folder, material)
    with written_to(folder):  # rather than after the scoring
        folder.mkdir(parents=True, exist_ok=True)
    batches = -(-len(clips.targets) // cfg.batch_size)
    console = Console(stderr=True)
    watch = partial(track, description="scoring", total=batches, console=console, transient=True)
    scores = scoring.score(predict, clips, info.labels, cfg.batch_size, watch)
    facts = scoring.summary(scores, cfg.bins, cfg.worst)
    if tests:
        facts["robustness"] = measure_robustness(
            tests, predict, clips, scores, info, cfg.batch_size
        )
    model = f"{run_folder.name}/{path.name}" if run_folder else path.name
    title = f"{material.title}: {scoring.headline(facts)}\n{model}"
    worst = scoring.worst_clips(scores, clips, cfg.worst, cfg.batch_size)
    draw(scores, worst, info.frontend, title, cfg.bins, folder)
    if facts.get("robustness"):
        plot_robustness(facts["robustness"], title, folder / "robustness.png")
    origin = {
        "model": str(path),
        "data": material.title,
        "description": material.description,
        "data_fingerprint": clips.fingerprint,
    }
    report(cfg, title, origin | facts | {"pictures": str(folder)})
    return scores.accuracy


def pictures_folder(cfg: DictConfig, run_folder: Path | None, material: Material) -> Path:
    if cfg.folder is not None:
        return Path(str(cfg.folder)).expanduser()
    return (run_folder or Path(cfg.paths.plots)) / f"evaluation_{material.folder_name}"


def check_settings(cfg: DictConfig) -> None:
    """Refuse what would fail only after the scoring."""
    for name, choices in (("format", FORMATS), ("split", SPLITS)):
        if cfg[name] not in choices:
            raise KwsError(f"expected {name} to be one of {', '.join(choices)}, got {cfg[name]}")
    if cfg.input is not None and cfg.get("data"):
        raise KwsError("both input= and data= say what to score: leave one of them out")
    for name in ("bins", "worst", "batch_size"):
        if not isinstance(cfg[name], int) or cfg[name] < 1:
            raise KwsError(f"{name} must be a whole number of 1 or more, got {cfg[name]!r}")


def find_model(cfg: DictConfig) -> tuple[Path, Path | None]:
    """The model file asked for, and the folder of the run that it lies in, if any."""
    if cfg.model is None:
        folder = runs.find_run(cfg.run, cfg.paths.runs)
        return runs.checkpoint_of(folder, runs.BEST, runs.LAST), folder
    path = locate_model(cfg.model, cfg.paths.runs, build(cfg.registry))
    around = (path.absolute().parent, path.absolute().parent.parent)
    return path, next((folder for folder in around if (folder / runs.CONFIG_FILE).is_file()), None)


def open_model(path: Path, cfg: DictConfig) -> tuple[ArtefactInfo, Predict]:
    """What a model says of itself, and how to ask it: waveforms (B, T) to probabilities (B, K)."""
    if "url" in cfg.backend:
        raise KwsError("evaluate runs a file: give backend=onnx or backend=tensorrt, no server")
    if path.suffix == CHECKPOINT_SUFFIX:
        if cfg.backend._target_ == TENSORRT:
            raise KwsError(f"{path} is a checkpoint: backend=tensorrt needs model=FILE.plan")
        return open_checkpoint(path)
    backend = build(cfg.backend)(path)
    return backend.info, lambda waveforms: backend(waveforms)[0]


def open_checkpoint(path: Path) -> tuple[ArtefactInfo, Predict]:
    # Here and not above: to score an exported model needs no torch.
    import torch

    from speech_commands_kws.models.checkpoint import load_spotter

    spotter, facts = load_spotter(path)
    settings = {key: facts[key] for key in ("sample_rate", "clip_samples", "frontend")}

    @torch.inference_mode()
    def predict(waveforms: np.ndarray) -> np.ndarray:
        return spotter(torch.from_numpy(waveforms)).softmax(dim=1).numpy()

    return ArtefactInfo(labels=tuple(facts["labels"]), training=facts, **settings), predict


def open_material(cfg: DictConfig, info: ArtefactInfo, run_folder: Path | None) -> Material:
    """The clips of a folder, of the data asked for, or of the data that the run was trained on."""
    signal = (info.labels, info.sample_rate, info.clip_samples)
    if cfg.input is not None:
        folder = Path(str(cfg.input)).expanduser()
        if dvc_pointer(folder):
            ensure_present(folder)
        clips = LabelledFolder(folder, *signal)
        for reason in clips.left_out:
            print(f"left out: {reason}", file=sys.stderr)
        if clips.left_out:
            print(f"{len(clips.left_out)} recordings were left out", file=sys.stderr)
        return Material(clips, str(folder), folder.absolute().name, "recordings from a folder")
    saved = runs.read_config(run_folder) if run_folder else None
    data = cfg.get("data") or (saved and saved.data)
    if not data:
        raise KwsError(
            "this model lies in no run that tells what to score it on: "
            "give input=FOLDER, or data=... such as data=speech_commands"
        )
    # Here and not above: to score an exported model on a folder needs no torch.
    from speech_commands_kws.data.labelled_split import labelled_split

    loader = (saved or cfg).loader
    drawing = {key: loader[key] for key in ("silence_volume", "cache", "seed")}
    clips = labelled_split(build(data.source), cfg.split, *signal, **drawing)
    folder_name = f"{data.name}_{cfg.split}" if cfg.get("data") else cfg.split
    title = f"{data.name}, {cfg.split} split"
    return Material(clips, title, folder_name, data.get("description") or "")


def measure_robustness(
    tests: Robustness,
    predict: Predict,
    clips: LabelledClips,
    scores: Scores,
    info: ArtefactInfo,
    batch_size: int,
) -> dict[str, Any] | None:
    """Accuracies in noise and in rooms; the facts of a model's training tell what noise it has heard."""
    heard = info.training.get("noise_held_out", 0.0) < tests.held_out

    def watch(trials: Iterable, total: int) -> Iterable:
        console = Console(stderr=True)
        return track(trials, "noise and rooms", total, console=console, transient=True)

    return tests.measure(predict, clips, scores, info.sample_rate, batch_size, heard, watch)


def report(cfg: DictConfig, title: str, facts: dict[str, Any]) -> None:
    """Write the figures to standard output and, on request, to a file."""
    if cfg.format == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        tables.write_scores(title, facts, sys.stdout)
        if facts.get("robustness"):
            tables.write_robustness(facts["robustness"], sys.stdout)
        print(f"pictures: {display_name(facts['pictures'])}")
    write_json_file(cfg.json_file, facts)


@hydra.main(config_path=CONFIG_DIR, config_name="evaluate", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
