"""Builds the module that is trained: front-end, backbone, augmentation, and the facts that its checkpoints carry."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from speech_commands_kws.assembly.parent import begin_with, learns_from_run
from speech_commands_kws.audio.noise_recordings import read_noises, training_portions
from speech_commands_kws.cli.launch import build, settings_of
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.speech_tree import TRAIN
from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.labels import SILENCE
from speech_commands_kws.models.checkpoint import keyword_mask, module_facts
from speech_commands_kws.models.complexity import complexity
from speech_commands_kws.models.speech_embedding import SpeechEmbeddingNet
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.models.transfer import freeze
from speech_commands_kws.tracking import recording
from speech_commands_kws.training.auxiliary import AuxiliaryWords
from speech_commands_kws.training.distillation import Distillation
from speech_commands_kws.training.module import KeywordModule
from speech_commands_kws.training.streams import StreamTraining
from speech_commands_kws.training.teacher import standardized

LOG = logging.getLogger(__name__)


def build_module(
    cfg: DictConfig, datamodule: KeywordDataModule, waveform_augment: nn.Module | None = None
) -> KeywordModule:
    """The untrained module with the facts that checkpoints and exports carry."""
    n_classes = len(datamodule.labels)
    sizes = {"n_classes": n_classes, "n_mels": cfg.frontend.n_mels}
    frontend, backbone = build(cfg.frontend), build(cfg.backbone, **sizes)
    try:
        spotter = SpotterModule(
            frontend, backbone, keyword_mask(datamodule.labels, bool(cfg.get("streams")))
        )
    except ValueError as error:
        raise KwsError(str(error)) from None
    if cfg.get("streams") and not spotter.streams:
        raise KwsError(
            "streams are for a backbone that listens to them: add backbone=bc_resnet_streaming"
        )
    try:
        cost = complexity(spotter, datamodule.clip_samples)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise KwsError(
            f"front-end and backbone do not take clips of {datamodule.clip_samples} samples "
            f"({summarize_error(error)}): change clip_seconds, frontend or backbone"
        ) from error
    LOG.info(
        "parameters: %s, multiply-adds: %s, front-end: %s",
        *(f"{count:,}" for count in cost.values()),
    )
    mixup = cfg.augment.get("mixup")
    facts: dict[str, Any] = {
        "labels": datamodule.labels,
        "sample_rate": datamodule.sample_rate,
        "clip_samples": datamodule.clip_samples,
        "frontend": _module_facts(cfg.frontend),
        "backbone": _module_facts(cfg.backbone, **sizes),
        "data": cfg.data.name,
        "data_description": cfg.data.get("description") or "",
        "data_made_by": datamodule.made_by or None,
        "data_fingerprint": datamodule.fingerprint,
        "git_commit": recording.git_commit(recording.CODE_FOLDER)[0],
        "seed": cfg.seed,
        "streams": bool(cfg.get("streams")),
        "noise_held_out": cfg.augment.get("noise_held_out", 0.0),
        **cost,
    }
    auxiliary = hear_other_words(cfg, datamodule, facts) if cfg.get("auxiliary") else None
    features_weight, distillation = 0.0, None
    if learns_from_run(cfg):
        distillation = learn_from_run(cfg, datamodule, facts)
    elif cfg.get("teacher"):
        features_weight = ask_teacher(cfg, datamodule, auxiliary, facts)
    n_features = 0 if datamodule.features is None else datamodule.features.shape[1]
    beside = n_features + (len(auxiliary.words) if auxiliary else 0)
    if beside:
        spotter.backbone = build(cfg.backbone, **sizes | {"n_classes": n_classes + beside})
    if cfg.get("init") and not cfg.resume:
        facts["parent"] = begin_with(spotter, datamodule.labels, Path(cfg.init))
    if isinstance(spotter.backbone, SpeechEmbeddingNet) and not cfg.get("init"):
        facts["begun_with"] = spotter.backbone.begin_with_google()
        LOG.info("backbone: %s", facts["begun_with"])
    if cfg.get("freeze") is not None:
        facts["frozen"] = freeze(spotter.backbone, OmegaConf.to_container(cfg)["freeze"])
        LOG.info(
            "freeze: %s as in the parent; the rest is trained in plain torch",
            ", ".join(facts["frozen"]),
        )
    streams = build_streams(cfg, datamodule.labels) if cfg.get("streams") else None
    if streams:
        facts["streams_fingerprint"] = streams.fingerprint
    return KeywordModule(
        spotter,
        with_noise(waveform_augment or build(cfg.augment.waveform), cfg.augment, datamodule),
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
        streams=streams,
        auxiliary=auxiliary,
        n_features=n_features,
        features_weight=features_weight,
        distillation=distillation,
    )


def hear_other_words(
    cfg: DictConfig, datamodule: KeywordDataModule, facts: dict[str, Any]
) -> AuxiliaryWords:
    """Other words of people, for the batches of the data too; `facts` then tell of them."""
    auxiliary = build(cfg.auxiliary, labels=datamodule.labels, cache=cfg.loader.cache)
    datamodule.other_words = auxiliary.numbers
    facts["auxiliary_words"] = auxiliary.words
    facts["auxiliary_data"] = f"{len(auxiliary.words)} words of {Path(cfg.auxiliary.root).name}"
    facts["auxiliary_fingerprint"] = auxiliary.fingerprint
    return auxiliary


def ask_teacher(
    cfg: DictConfig,
    datamodule: KeywordDataModule,
    auxiliary: AuxiliaryWords | None,
    facts: dict[str, Any],
) -> float:
    """Give the clips of the data, and those of other words, a teacher's features; `facts` then tell of it.

    Returns:
        The weight of their loss.
    """
    teacher = build(cfg.teacher, cache=cfg.loader.cache)
    facts["teacher"] = teacher.origin
    LOG.info("teacher: %s", teacher.origin)
    rows = np.flatnonzero(datamodule.splits == TRAIN)
    found = [teacher.features(datamodule.packed, rows)]
    if auxiliary:
        found.append(teacher.features(auxiliary.packed, auxiliary.rows))
    own, *others = standardized(*found)
    datamodule.features = torch.full((len(datamodule.splits), own.shape[1]), torch.nan)
    datamodule.features[rows] = own
    if auxiliary:
        (auxiliary.features,) = others
    return teacher.weight


def learn_from_run(
    cfg: DictConfig, datamodule: KeywordDataModule, facts: dict[str, Any]
) -> Distillation:
    """The run whose answers are learnt; `facts` then tell of it."""
    of_clips = {name: facts[name] for name in ("labels", "sample_rate", "clip_samples")}
    with settings_of("teacher"):
        teacher = build(cfg.teacher)(**of_clips)
    run = recording.run_name(Path(cfg.teacher.run).parent.parent)
    facts["teacher"] = f"{run} ({teacher.origin})"
    LOG.info("teacher: %s", facts["teacher"])
    return teacher


def build_streams(cfg: DictConfig, labels: Sequence[str]) -> StreamTraining:
    """How clips become streams: over recordings without keywords or, where the data can speak, over such talk."""
    given = {}
    if not cfg.streams.negatives and cfg.data.get("talk"):
        given["negatives"] = str(build(cfg.data.talk).prepare() / TRAIN)
        LOG.info("talk without keywords: %s", given["negatives"])
    return build(cfg.streams, labels=labels, cache=cfg.loader.cache, **given)


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


def with_noise(
    waveform_augment: nn.Module, augment: DictConfig, datamodule: KeywordDataModule
) -> nn.Module:
    """The augmentation, with the background noise of the training."""
    noise = training_noise(augment, datamodule)
    wants_noise = any(name.endswith("noise") for name, _ in waveform_augment.named_buffers())
    if wants_noise and not len(noise):
        LOG.warning(
            "no background noise to train with, the data have none: name recordings with augment.noise_folder"
        )
    waveform_augment.set_noise(noise)
    return waveform_augment


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
    noise = np.concatenate([np.zeros(0, np.float32), *heard])
    if 0 < len(noise) < datamodule.clip_samples:
        noise = np.resize(noise, datamodule.clip_samples)
    return torch.from_numpy(noise)
