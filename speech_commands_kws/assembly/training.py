"""Builds a training from its configuration, and runs it."""

import json
import logging
from pathlib import Path

import lightning
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.parent import learns_from_run
from speech_commands_kws.assembly.report import write_training
from speech_commands_kws.assembly.resume import last_checkpoint
from speech_commands_kws.cli.launch import build, is_multirun, settings_of
from speech_commands_kws.cli.overrides import command_for, resume_command
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.data.speech_tree import TRAIN
from speech_commands_kws.errors import (
    KwsError,
    check_number,
    check_positive,
    check_whole,
    summarize_error,
)
from speech_commands_kws.figures.curves import plot_curves
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.models.speech_embedding import SpeechEmbeddingNet, find_package
from speech_commands_kws.models.transfer import ALL_BUT_CLASSIFIER, class_name
from speech_commands_kws.packaging.latency import onnx_latency_ms
from speech_commands_kws.tracking import recording, runs
from speech_commands_kws.training.auxiliary import fetch_words
from speech_commands_kws.training.data_parallel import LocalDDP
from speech_commands_kws.training.module import KeywordModule
from speech_commands_kws.training.objectives import ACCURACY, LATENCY, MULTIPLY_ADDS, PARAMETERS

LOG = logging.getLogger(__name__)
# What the end of a training reads.
NEEDED_CALLBACKS = ("best", "history")
LARGEST_SEED = 2**32 - 1


def train(
    cfg: DictConfig, folder: Path, waveform_augment: nn.Module | None = None
) -> dict[str, float]:
    """Train as the settings say.

    Args:
        waveform_augment: of `check_settings`; None builds it again.

    Returns:
        What was measured: the objectives, and what costs nothing to tell.
    """
    callbacks = build_callbacks(cfg, folder)
    trainer = build_trainer(cfg, folder, list(callbacks.values()))
    lightning.seed_everything(cfg.seed, verbose=False)
    datamodule = build_datamodule(cfg, Shard(trainer.global_rank, trainer.world_size))
    module = build_module(cfg, datamodule, waveform_augment)
    logger = None
    if cfg.logger and trainer.is_global_zero:
        trainer.logger = logger = build(cfg.logger, run_folder=folder)
    with recording.recorded(logger):
        settings = OmegaConf.to_container(cfg, resolve=True) | recorded_choices(cfg)
        recording.log_start(logger, settings, module.facts)
        checkpoint, begin = None, None
        if cfg.resume:
            checkpoint, begin = last_checkpoint(folder, module.facts)
        LOG.info("run: %s; after an interruption: %s", folder, resume_command(folder))
        if trainer.is_global_zero and not (cfg.resume or is_multirun()):
            picture = draw_augmentations(cfg, module, datamodule, folder)
            if logger:
                logger.log_files([picture], "plots")
        fit(trainer, module, datamodule, checkpoint, resume_command(folder))
        if begin == trainer.global_step:
            LOG.info("the run was finished already: nothing was left to train")
        rows = callbacks["history"].rows
        if trainer.is_global_zero:
            write_whole(folder / runs.HISTORY_FILE, json.dumps(rows, indent=2))
            pictures = plot_curves(rows, folder / "plots")
            page = write_training(folder, module.facts)
            if logger:
                logger.log_files([*pictures, page], "plots")
    # Not the score of the best checkpoint, which Lightning forgets where the run's folder has moved.
    accuracy = max(row[ACCURACY] for row in rows if ACCURACY in row)
    LOG.info("best validation accuracy %.1f%%; run: %s", accuracy * 100, folder)
    if not is_multirun():
        LOG.info("next: %s", command_for(folder, "export"))
    return {ACCURACY: accuracy} | measure_size(cfg, module)


def check_settings(cfg: DictConfig) -> nn.Module:
    """Refuse what would be found only when the recordings are there, by building all that needs none of them.

    Returns:
        The augmentation of waveforms, because simulated rooms take seconds.

    Raises:
        KwsError: a value is not what it must be.
    """
    check_whole(0, LARGEST_SEED, seed=cfg.seed)
    check_number(0, 1, label_smoothing=cfg.label_smoothing)
    begins_with_google = class_name(cfg.backbone) == SpeechEmbeddingNet.__name__ and not cfg.init
    if begins_with_google:
        find_package()
    if cfg.freeze is not None and not (cfg.init or begins_with_google):
        raise KwsError("freeze= keeps weights that a training begins with: give init= too")
    for name in ("auxiliary", "teacher"):
        if cfg[name] and cfg.streams:
            raise KwsError(
                f"{name}= is for a training on clips: leave it out, and begin with such a training (init=)"
            )
        if cfg[name] and cfg.freeze == ALL_BUT_CLASSIFIER:
            raise KwsError(
                f"freeze={cfg.freeze} keeps all that {name}= could teach: leave one of them out"
            )
    with settings_of("trainer"):
        check_whole(max_epochs=cfg.trainer.max_epochs)
    with settings_of("augment"):
        check_number(0, 1, noise_held_out=cfg.augment.get("noise_held_out", 0))
    built = {}
    for key in ("frontend", "augment.waveform", "augment.spectrogram"):
        node = OmegaConf.select(cfg, key)
        if node is None:
            raise KwsError(f"{key} must be a group of settings, got null: leave them in")
        built[key] = build(node)
    build(cfg.backbone, n_classes=2, n_mels=cfg.frontend.n_mels)
    if cfg.augment.get("mixup"):
        build(cfg.augment.mixup, n_classes=2)
    with settings_of("optimizer"):
        optimizer = build(cfg.optimizer)([torch.zeros(1, requires_grad=True)])
        for group in optimizer.param_groups:
            check_positive(lr=group["lr"])
    with settings_of("scheduler"):
        build(cfg.scheduler)(optimizer, 1)
    if cfg.teacher and not learns_from_run(cfg):
        build(cfg.teacher, cache=cfg.loader.cache)
    make_datamodule(cfg, Shard())
    if cfg.auxiliary:  # last, because it may take long
        download = cfg.auxiliary.get("download")
        fetch_words(cfg.auxiliary.root, build(download) if download else None)
    return built["augment.waveform"]


def recorded_choices(cfg: DictConfig) -> dict[str, dict[str, str]]:
    """The choice for each group, such as augment=robust; a run that is resumed has recorded its own before."""
    if cfg.resume or not HydraConfig.initialized():
        return {}
    choices = HydraConfig.get().runtime.choices
    return {"choices": {group: choice for group, choice in choices.items() if group in cfg}}


def measure_size(cfg: DictConfig, module: KeywordModule) -> dict[str, float]:
    """Parameters and multiply-adds, and the latency where the sweep asks for it."""
    facts = module.facts
    measured = {name: facts[name] for name in (PARAMETERS, MULTIPLY_ADDS)}
    if LATENCY in cfg.sweep.objectives:
        keys = ("labels", "sample_rate", "clip_samples", "frontend")
        info = ModelInfo(**{key: facts[key] for key in keys}, training={})
        # The model has no rows for what is learnt beside the classes; its weights do not matter.
        if module.n_words or module.n_features:
            sizes = {"n_classes": len(info.labels), "n_mels": cfg.frontend.n_mels}
            module.spotter.backbone = build(cfg.backbone, **sizes)
        measured[LATENCY] = onnx_latency_ms(module.spotter.cpu(), info, **cfg.sweep.latency)
    return measured


def build_callbacks(cfg: DictConfig, folder: Path) -> dict[str, lightning.Callback]:
    callbacks = {name: build(node) for name, node in cfg.callbacks.items() if node}
    missing = [f"callbacks.{name}" for name in NEEDED_CALLBACKS if name not in callbacks]
    if missing:
        raise KwsError(f"expected settings for {' and '.join(missing)}, got none: leave them in")
    for callback in callbacks.values():
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder / runs.CHECKPOINTS)
    return callbacks


def build_trainer(
    cfg: DictConfig, folder: Path, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    try:
        trainer = build(
            cfg.trainer, default_root_dir=folder, callbacks=callbacks, logger=DummyLogger()
        )
    except MisconfigurationException as error:
        raise KwsError(
            f"the trainer cannot be made of its settings: {summarize_error(error)}"
        ) from error
    if trainer.world_size > 1 and not isinstance(trainer.strategy, LocalDDP):
        raise KwsError(
            f"expected trainer=ddp for several devices, got trainer.devices={cfg.trainer.devices}; add trainer=ddp"
        )
    return trainer


def make_datamodule(cfg: DictConfig, shard: Shard) -> KeywordDataModule:
    """The data before anything is read."""
    with settings_of("loader"):
        return KeywordDataModule(
            source=build(cfg.data.source),
            task=build(cfg.task),
            shard=shard,
            **OmegaConf.to_object(cfg.loader),
        )


def build_datamodule(cfg: DictConfig, shard: Shard) -> KeywordDataModule:
    """The data, ready to use."""
    if cfg.data.get("description"):
        LOG.info("data: %s", cfg.data.description)
    datamodule = make_datamodule(cfg, shard)
    datamodule.setup()
    return datamodule


def fit(
    trainer: lightning.Trainer,
    module: KeywordModule,
    datamodule: KeywordDataModule,
    checkpoint: Path | None,
    resume: str,
) -> None:
    """Train, or go on from a checkpoint.

    Args:
        resume: the command that goes on after an interruption.

    Raises:
        KwsError: the training was interrupted, does not fit its settings or the GPU, or lost one of its processes.
    """
    try:
        trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        if is_multirun():
            raise KeyboardInterrupt  # ends the other jobs too
        if not trainer.is_global_zero:
            raise
        if not Path(trainer.checkpoint_callback.dirpath, runs.LAST).is_file():
            raise KwsError("interrupted before the first checkpoint: train again") from None
        raise KwsError(f"interrupted; go on with: {resume}") from None
    except MisconfigurationException as error:
        raise KwsError(
            f"the settings of the training do not fit: {summarize_error(error)}"
        ) from error
    except torch.OutOfMemoryError as error:
        raise KwsError(
            f"the GPU's memory is full ({summarize_error(error)}): "
            "lower loader.batch_size or set loader.resident=false"
        ) from error
    except RuntimeError as error:
        if not getattr(trainer.strategy, "has_lost_process", False):
            raise
        raise KwsError(
            f"another process of the training has failed, and said why unless it was killed; go on with: {resume}"
        ) from error


def draw_augmentations(
    cfg: DictConfig, module: KeywordModule, datamodule: KeywordDataModule, folder: Path
) -> Path:
    """A picture of what the augmentations do to a clip, the one of two training clips that is louder."""
    # Here and not above: librosa, which draws the mel images, loads slowly.
    from speech_commands_kws.figures import augmentation

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
    return augmentation.plot_augmentations(clips, OmegaConf.to_object(cfg.frontend), about, path)
