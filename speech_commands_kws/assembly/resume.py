"""Opens the run of a training: a new one in a folder of its own, or one to go on with."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.parent import find_parent, find_teacher, learns_from_run
from speech_commands_kws.cli.launch import is_multirun
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.models.checkpoint import FACTS_KEY, read_checkpoint
from speech_commands_kws.tracking import runs
from speech_commands_kws.training.data_parallel import check_processes, is_first_process

CHANGEABLE = ("resume", "run", "logger", "paths", "hydra", "experiment", "targets")
# What a checkpoint tells of recordings beside the data, and the settings that name them.
HEARD_BESIDE = {
    "streams_fingerprint": "streams.negatives or streams.mined",
    "auxiliary_fingerprint": "auxiliary.root",
}

LOG = logging.getLogger(__name__)


def open_run(cfg: DictConfig) -> tuple[Path, DictConfig]:
    """Folder and resolved configuration of the run: a new folder, or that of the run to go on with."""
    if cfg.resume:
        return reopen_run(cfg)
    check_processes(cfg.trainer, is_multirun())
    resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    if cfg.init:
        resolved.init = str(find_parent(cfg))
    if learns_from_run(cfg):
        resolved.teacher.run = str(find_teacher(cfg))
    if (
        not is_first_process()
    ):  # the first one makes the folder and tells the others where checkpoints lie
        return Path(cfg.paths.runs), resolved
    if is_multirun():
        folder = job_folder(cfg)
        # A trial whose process was killed is begun again in its own folder.
        resolved.resume = (folder / runs.CHECKPOINTS / runs.LAST).is_file()
    elif cfg.folder is not None:
        folder = runs.claim_folder(Path(cfg.folder).absolute())
    else:
        with written_to(Path(cfg.paths.runs)):
            folder = runs.make_run_folder(Path(cfg.paths.runs), cfg.name)
    OmegaConf.save(resolved, folder / runs.CONFIG_FILE)
    return folder, resolved


def reopen_run(cfg: DictConfig) -> tuple[Path, DictConfig]:
    folder = runs.find_run_to_resume(cfg.run, cfg.paths.runs).absolute()
    if is_first_process():
        say(f"resuming {runs.summary(folder)}")
    saved = runs.read_config(folder)
    refuse_changes(cfg, saved)
    check_processes(saved.trainer, is_multirun())
    resumed = OmegaConf.merge(saved, {"resume": True})
    if any(key.partition(".")[0] == "logger" for _, key in given_settings()):
        resumed.logger = cfg.logger
    return folder, resumed


def job_folder(cfg: DictConfig) -> Path:
    """The folder of a job of a multirun."""
    if cfg.folder is not None:
        raise KwsError(
            "folder= is for one training: leave it out, a multirun has a folder for each"
        )
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def given_settings() -> list[tuple[str, str]]:
    """What the command line changes: each override with its key."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return [
        (override, override.lstrip("+~").partition("=")[0].partition("@")[0])
        for override in overrides
    ]


def refuse_changes(cfg: DictConfig, saved: DictConfig) -> None:
    """A run goes on as it began: of the settings given now only those about the record may differ."""
    for override, key in given_settings():
        wanted, had = OmegaConf.select(cfg, key), OmegaConf.select(saved, key)
        if key.partition(".")[0] not in CHANGEABLE and wanted != had:
            raise KwsError(
                f"expected the settings that the run began with, got {override}: drop it, or train anew without resume"
            )


def last_checkpoint(folder: Path, facts: Mapping[str, Any]) -> tuple[Path, int]:
    """What a training with these facts goes on from, and the steps that it has behind it.

    Raises:
        KwsError: it cannot be read, or comes from other recordings.
    """
    path = runs.checkpoint_of(folder, runs.LAST)
    checkpoint = read_checkpoint(path)
    before, fingerprint = (each.get("data_fingerprint") for each in (checkpoint[FACTS_KEY], facts))
    if before != fingerprint:
        raise KwsError(
            f"expected the recordings that the run began with (fingerprint {before}), got others ({fingerprint}): "
            "restore them, or train anew without resume"
        )
    for name, settings in HEARD_BESIDE.items():
        heard = checkpoint[FACTS_KEY].get(name)
        if heard not in (None, facts.get(name)):
            LOG.warning(
                "the recordings of %s are others than those that the run began with: it goes on, to other weights than "
                "without the interruption",
                settings,
            )
    return path, checkpoint["global_step"]
