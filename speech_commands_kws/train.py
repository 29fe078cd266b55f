"""Train a keyword spotter: `python -m speech_commands_kws.train [overrides]`."""

import json
import logging
from pathlib import Path
from typing import Any

import hydra
import lightning
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from speech_commands_kws.audio.noise_recordings import read_noises, training_portions
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    run_command,
)
from speech_commands_kws.cli.overrides import resume_command
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.speech_tree import TRAIN
from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.figures import augmentation
from speech_commands_kws.figures.curves import plot_curves
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.inference.model_info import ArtefactInfo
from speech_commands_kws.labels import SILENCE
from speech_commands_kws.models.checkpoint import FACTS_KEY, module_facts, read_checkpoint
from speech_commands_kws.models.complexity import complexity
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.latency import onnx_latency_ms
from speech_commands_kws.tracking import recording, runs
from speech_commands_kws.training import data_parallel
from speech_commands_kws.training.further_processes import is_first_process
from speech_commands_kws.training.module import KeywordModule
from speech_commands_kws.training.objectives import (
    ACCURACY,
    LATENCY,
    MULTIPLY_ADDS,
    PARAMETERS,
    check_objectives,
)

LOG = logging.getLogger(__name__)
# What the end of a training reads.
NEEDED_CALLBACKS = ("best", "history")
CHANGEABLE = ("resume", "run", "logger", "paths", "hydra", "experiment")


def run(cfg: DictConfig) -> float | list[float]:
    """Train, or go on with a training; returns its objectives: a number, or several where the sweep has several."""
    check_objectives(cfg.sweep.objectives)
    folder, cfg = open_run(cfg)
    with runs.log_file(folder):
        measured = train(cfg, folder)
    values = [float(measured[name]) for name in cfg.sweep.objectives]
    return values[0] if len(values) == 1 else values


def train(cfg: DictConfig, folder: Path) -> dict[str, float]:
    """Returns what was measured: the objectives, and what costs nothing to tell."""
    lightning.seed_everything(cfg.seed, verbose=False)
    if cfg.data.get("description"):
        LOG.info("data: %s", cfg.data.description)
    datamodule = KeywordDataModule(
        source=build(cfg.data.source),
        task=build(cfg.task),
        shard=data_parallel.own_shard(cfg.trainer),
        **OmegaConf.to_object(cfg.loader),
    )
    datamodule.setup()
    module = build_module(cfg, datamodule)
    records = cfg.logger and is_first_process()
    logger = build(cfg.logger, run_folder=folder) if records else None
    with recording.recorded(logger):
        recording.log_start(logger, OmegaConf.to_container(cfg, resolve=True), module.facts)
        accuracy = fit(cfg, folder, module, datamodule, logger)
    LOG.info("best validation accuracy %.4f; run: %s", accuracy, folder)
    facts = module.facts
    measured = {ACCURACY: accuracy} | {name: facts[name] for name in (PARAMETERS, MULTIPLY_ADDS)}
    if LATENCY in cfg.sweep.objectives:
        keys = ("labels", "sample_rate", "clip_samples", "frontend")
        info = ArtefactInfo(**{key: facts[key] for key in keys}, training={})
        measured[LATENCY] = onnx_latency_ms(module.spotter.cpu(), info, **cfg.sweep.latency)
    return measured


def fit(
    cfg: DictConfig,
    folder: Path,
    module: KeywordModule,
    datamodule: KeywordDataModule,
    logger: Any,
) -> float:
    """Train, or go on with a training; returns the best validation accuracy."""
    callbacks = {name: build(node) for name, node in cfg.callbacks.items() if node}
    missing = [f"callbacks.{name}" for name in NEEDED_CALLBACKS if name not in callbacks]
    if missing:
        raise KwsError(f"expected settings for {' and '.join(missing)}, got none: leave them in")
    for callback in callbacks.values():
        if isinstance(callback, lightning.pytorch.callbacks.ModelCheckpoint):
            callback.dirpath = str(folder / runs.CHECKPOINTS)
    try:
        trainer = build(
            cfg.trainer,
            default_root_dir=folder,
            callbacks=list(callbacks.values()),
            logger=logger or DummyLogger(),
        )
    except MisconfigurationException as error:
        raise KwsError(
            f"the trainer cannot be made of its settings: {summarize_error(error)}"
        ) from error
    if isinstance(trainer.strategy, data_parallel.LocalDDP):
        trainer.strategy.hand_out(OmegaConf.to_container(cfg, resolve=True), folder)
    checkpoint = last_checkpoint(folder, datamodule.fingerprint) if cfg.resume else None
    LOG.info("run: %s; after an interruption: %s", folder, resume_command(folder))
    if trainer.is_global_zero and not (cfg.resume or is_multirun()):
        picture = draw_augmentations(cfg, module, datamodule, folder)
        recording.log_artifacts(logger, [picture], "plots")
    try:
        trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        if is_multirun():
            raise KeyboardInterrupt  # ends the other jobs too
        raise KwsError(f"interrupted; go on with: {resume_command(folder)}") from None
    except MisconfigurationException as error:
        raise KwsError(
            f"the settings of the training do not fit: {summarize_error(error)}"
        ) from error
    except torch.OutOfMemoryError as error:
        raise KwsError(
            f"the GPU's memory is full ({summarize_error(error)}): lower loader.batch_size or set loader.resident=false"
        ) from error
    if trainer.is_global_zero:
        rows = callbacks["history"].rows
        (folder / runs.HISTORY_FILE).write_text(json.dumps(rows, indent=2))
        pictures = plot_curves(rows, folder / "plots")
        recording.log_artifacts(logger, pictures, "plots")
    return float(callbacks["best"].best_model_score)


def last_checkpoint(folder: Path, fingerprint: str) -> Path:
    """What a training goes on from.

    Raises:
        KwsError: it cannot be read, or comes from other recordings than those with this fingerprint.
    """
    path = runs.checkpoint_of(folder, runs.LAST)
    before = read_checkpoint(path)[FACTS_KEY].get("data_fingerprint")
    if before != fingerprint:
        raise KwsError(
            f"expected the recordings that the run began with (fingerprint {before}), got others ({fingerprint}): "
            "restore them, or train anew without resume"
        )
    return path


def draw_augmentations(
    cfg: DictConfig, module: KeywordModule, datamodule: KeywordDataModule, folder: Path
) -> Path:
    """A picture of what the augmentations do to a clip, the one of two training clips that is louder."""
    rows = np.flatnonzero(datamodule.splits == TRAIN)[[0, -1]]
    pair = torch.from_numpy(datamodule.packed.waveforms(rows))
    clip, other = pair[pair.square().sum(1).argsort(descending=True)]
    clips = augmentation.examples(module, clip, other)
    about = (
        f"augment={HydraConfig.get().runtime.choices.augment}, "
        if HydraConfig.initialized()
        else ""
    )
    about += f"{cfg.data.name}: {datamodule.packed.paths[rows[0]]}"
    path = folder / "plots" / "augmentations.png"
    return augmentation.plot_augmentations(clips, cfg.frontend, about, path)


def is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def open_run(cfg: DictConfig) -> tuple[Path, DictConfig]:
    """Folder and resolved configuration of the run: a new folder, or that of the run to go on with."""
    if cfg.resume:
        folder = runs.find_run(cfg.run, cfg.paths.runs).absolute()
        saved = runs.read_config(folder)
        refuse_changes(cfg, saved)
        data_parallel.check_processes(saved.trainer, is_multirun())
        resumed = OmegaConf.merge(saved, {"resume": True})
        if any(key.partition(".")[0] == "logger" for _, key in given_settings()):
            resumed.logger = cfg.logger
        return folder, resumed
    data_parallel.check_processes(cfg.trainer, is_multirun())
    resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    if is_multirun():
        if cfg.folder is not None:
            raise KwsError(
                "folder= is for one training: leave it out, a multirun has a folder for each"
            )
        folder = Path(HydraConfig.get().runtime.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        # A trial whose process was killed is begun again in its own folder.
        resolved.resume = (folder / runs.CHECKPOINTS / runs.LAST).is_file()
    elif cfg.folder is not None:
        folder = runs.claim_folder(Path(cfg.folder).absolute())
    else:
        with written_to(Path(cfg.paths.runs)):
            folder = runs.make_run_folder(Path(cfg.paths.runs), cfg.name)
    OmegaConf.save(resolved, folder / runs.CONFIG_FILE)
    return folder, resolved


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


def build_module(cfg: DictConfig, datamodule: KeywordDataModule) -> KeywordModule:
    """The untrained module with the facts that checkpoints and exports carry."""
    n_classes = len(datamodule.labels)
    sizes = {"n_classes": n_classes, "n_mels": cfg.frontend.n_mels}
    spotter = SpotterModule(build(cfg.frontend), build(cfg.backbone, **sizes))
    try:
        cost = complexity(spotter, datamodule.clip_samples)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise KwsError(
            f"front-end and backbone do not take clips of {datamodule.clip_samples} samples "
            f"({summarize_error(error)}): "
            "change clip_seconds, frontend or backbone"
        ) from error
    LOG.info(
        "parameters: %s, multiply-adds: %s, front-end: %s",
        *(f"{count:,}" for count in cost.values()),
    )
    waveform_augment = build(cfg.augment.waveform)
    noise = training_noise(cfg.augment, datamodule)
    if not len(noise) and any(
        name.endswith("noise") for name, _ in waveform_augment.named_buffers()
    ):
        LOG.warning(
            "no background noise to train with, the data have none: name recordings with augment.noise_folder"
        )
    waveform_augment.set_noise(noise)
    mixup = cfg.augment.get("mixup")
    facts: dict[str, Any] = {
        "labels": datamodule.labels,
        "sample_rate": datamodule.sample_rate,
        "clip_samples": datamodule.clip_samples,
        "frontend": _module_facts(cfg.frontend),
        "backbone": _module_facts(cfg.backbone, **sizes),
        "data": cfg.data.name,
        "data_fingerprint": datamodule.fingerprint,
        "git_commit": recording.git_commit(recording.CODE_FOLDER)[0],
        "seed": cfg.seed,
        "noise_held_out": cfg.augment.get("noise_held_out", 0.0),
        **cost,
    }
    return KeywordModule(
        spotter,
        waveform_augment,
        build(cfg.augment.spectrogram),
        build(cfg.optimizer),
        build(cfg.scheduler),
        # Not the trainer's estimate: asking for it opens the loader before a resumed run has restored its place.
        total_steps=steps_of_an_epoch(datamodule) * cfg.trainer.max_epochs,
        label_smoothing=cfg.label_smoothing,
        silence_target=datamodule.labels.index(SILENCE) if SILENCE in datamodule.labels else -1,
        seed=cfg.seed,
        facts=facts,
        mixup=build(mixup, n_classes=n_classes) if mixup else None,
    )


def _module_facts(node: DictConfig, **given: Any) -> dict[str, Any]:
    """What a checkpoint says about the front-end or the backbone."""
    arguments = OmegaConf.to_container(node, resolve=True)
    arguments.pop("_convert_", None)
    return module_facts(arguments.pop("_target_"), **arguments, **given)


def steps_of_an_epoch(datamodule: KeywordDataModule) -> int:
    steps = len(datamodule.train_dataloader())
    if steps == 1:
        LOG.warning(
            "one batch holds all clips of an epoch: lower loader.batch_size for more than a step"
        )
    return steps


def training_noise(augment: DictConfig, datamodule: KeywordDataModule) -> Tensor:
    """The background noise that training hears, one recording after another, (samples,)."""
    noises = list(datamodule.packed.noise_waveforms.values())
    if augment.get("noise_folder"):
        added = read_noises(
            augment.noise_folder, datamodule.sample_rate, augment.noise_folder_seconds
        )
        noises += added.values()
    held_out = augment.get("noise_held_out", 0.0)
    heard = training_portions(noises, held_out, datamodule.clip_samples)
    return torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *heard]))


@hydra.main(config_path=CONFIG_DIR, config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | list[float] | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
