"""The parent of a training: the run, checkpoint or registered model whose weights it begins with."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import build, is_multirun
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import REGISTERED
from speech_commands_kws.models.checkpoint import FACTS_KEY, load_spotter, read_checkpoint
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.models.transfer import class_name, other_settings, take_over
from speech_commands_kws.tracking import recording, runs
from speech_commands_kws.tracking.mlflow_run import read_record
from speech_commands_kws.training.data_parallel import is_first_process

LOG = logging.getLogger(__name__)
# What a model file and the checkpoint that it was made of say alike.
SAME_FACTS = ("data_fingerprint", "seed", "validation_accuracy")


def find_parent(cfg: DictConfig) -> Path:
    """What `init` names, as config.yaml keeps it: the folder of a run, whatever is the latest one later, or a file.

    Raises:
        KwsError: there is no such run, no weights of such a model, or these are for another front-end or backbone.
    """
    if str(cfg.init).startswith(REGISTERED):
        path = checkpoint_of_registered(cfg)
    else:
        path = find_trained("init", cfg.init, cfg)
    check_fits(cfg, load_spotter(checkpoint_at(path))[1], path)
    return path.absolute()


def learns_from_run(cfg: DictConfig) -> bool:
    """Whether a trained run is the teacher (teacher=run)."""
    return bool(cfg.get("teacher")) and "run" in cfg.teacher


def find_teacher(cfg: DictConfig) -> Path:
    """The checkpoint of the run that `teacher.run` names; raises KwsError where there is none, or no spotter in it."""
    path = checkpoint_at(find_trained("teacher.run", cfg.teacher.run, cfg)).absolute()
    load_spotter(path)  # known before the data are read
    return path


def find_trained(setting: str, given: str, cfg: DictConfig) -> Path:
    """The folder of the run, or the checkpoint, that a setting names."""
    if is_multirun() and given == runs.LATEST:
        raise KwsError(
            f"{setting}=latest would be another run for each job of a multirun: give {setting}=FOLDER"
        )
    path = Path(str(given)).expanduser()
    if path.is_file():
        return path
    choose = runs.choose_run if is_first_process() else runs.find_run
    return choose(given, cfg.paths.runs)


def checkpoint_at(parent: Path) -> Path:
    """The best checkpoint of a run, or the file."""
    return runs.checkpoint_of(parent, runs.BEST, runs.LAST) if parent.is_dir() else parent


def checkpoint_of_registered(cfg: DictConfig) -> Path:
    """The checkpoint of a registered model; its own file has weights for inference alone.

    Raises:
        KwsError: its run is not here, or has been trained since.
    """
    training = OnnxBackend(build(cfg.registry)(cfg.init)).info.training
    try:
        folder = runs.find_run(training["run"], cfg.paths.runs)
    except KwsError:
        raise KwsError(
            f"{cfg.init} holds an ONNX file, from which no training can go on, and its run {training['run']} is not "
            f"below {cfg.paths.runs}: copy the folder of the run there"
        ) from None
    path = runs.checkpoint_of(folder, training["checkpoint"]).absolute()
    facts = read_checkpoint(path)[FACTS_KEY]
    if any(training[key] != facts.get(key) for key in SAME_FACTS if key in training):
        raise KwsError(
            f"{path} is not what {cfg.init} was exported from, its facts differ: give init={path} to begin with it"
        )
    return path


def begin_with(spotter: SpotterModule, labels: Sequence[str], parent: Path) -> dict[str, Any]:
    """Begin with the weights of a run, the best ones, or of a checkpoint; returns facts about them."""
    path = checkpoint_at(parent)
    trained, facts = load_spotter(path)
    kept = take_over(spotter.backbone, labels, trained.backbone, facts["labels"])
    new = [label for label in labels if label not in kept]
    LOG.info(
        "init: backbone and %d of %d classes from %s, new: %s",
        *(len(kept), len(labels), parent, ", ".join(new) or "none"),
    )
    folder = path.parent.parent
    is_run = (folder / runs.CONFIG_FILE).is_file()
    record = read_record(folder) if is_run else None
    heard = facts.get("parent", {}) | facts
    found = {
        "run": recording.run_name(folder) if is_run else None,
        "checkpoint": path.name,
        "data": facts.get("data"),
        "data_fingerprint": facts.get("data_fingerprint"),
        "auxiliary_data": heard.get("auxiliary_data"),
        "begun_with": heard.get("begun_with"),
        "teacher": heard.get("teacher"),
        "mlflow_run": record and record.run_id,
        "kept_classes": kept,
    }
    return {name: value for name, value in found.items() if value is not None}


def check_fits(cfg: DictConfig, facts: dict[str, Any], parent: Path) -> None:
    """Asked before any data is read.

    Args:
        facts: of the parent's checkpoint.
    """
    other = []
    for part in ("frontend", "backbone"):
        wanted, trained = OmegaConf.to_container(cfg[part], resolve=True), facts[part]
        kinds = [class_name(trained), class_name(wanted)]
        if kinds[0] != kinds[1]:
            raise KwsError(
                f"init={parent} has a {kinds[0]}, not a {kinds[1]}: choose the same {part}, or leave init= out"
            )
        for name, value in other_settings(wanted, trained).items():
            # The rate is that of the data too.
            other.append(f"{name}={value}" if name == "sample_rate" else f"{part}.{name}={value}")
    if other:
        raise KwsError(
            f"the weights of {parent} are for {' '.join(other)}, and here that is otherwise: give the same, or leave "
            "init= out"
        )
