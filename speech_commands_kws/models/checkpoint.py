"""Checkpoints are plain data: tensors and JSON-able values, read back without running code from the file."""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speech_commands_kws.errors import (
    KwsError,
    check_mapping,
    check_texts,
    check_whole,
    summarize_error,
)
from speech_commands_kws.labels import is_keyword
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.speech_embedding import SpeechEmbeddingNet
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.models.streaming import StreamingBCResNet
from speech_commands_kws.models.transfer import classifier_name

FACTS_KEY = "facts"
PREFIX = "spotter."
# A checkpoint names its front-end and its backbone by these, wherever the classes lie.
MODULES = {
    "LogMel": LogMel,
    "BCResNet": BCResNet,
    "DSCNN": DSCNN,
    "SpeechEmbeddingNet": SpeechEmbeddingNet,
    "StreamingBCResNet": StreamingBCResNet,
}
# Checkpoints written before version 0.2 hold the place of the class at that time.
OLD_NAMES = {
    "speech_commands_kws.frontend.LogMel": "LogMel",
    "speech_commands_kws.models.bc_resnet.BCResNet": "BCResNet",
    "speech_commands_kws.models.ds_cnn.DSCNN": "DSCNN",
}
REQUIRED_FACTS = ("labels", "sample_rate", "clip_samples", "frontend", "backbone")
MESSAGE_CHARACTERS = 200


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint; raises KwsError where there is none or it is not one of ours."""
    if not path.is_file():
        raise KwsError(
            f"expected a checkpoint at {path}, found none; train first or give another path"
        )
    if not zipfile.is_zipfile(path):
        raise KwsError(f"expected a checkpoint, {path} cannot be read as one (no archive)")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise KwsError(
            f"expected a checkpoint, {path} cannot be read as one ({type(error).__name__})"
        ) from None
    if not isinstance(contents, dict) or FACTS_KEY not in contents:
        raise KwsError(f"expected a checkpoint of this program, {path} has no '{FACTS_KEY}' entry")
    return contents


def load_spotter(path: Path) -> tuple[SpotterModule, dict[str, Any]]:
    """The trained module, in evaluation mode, and the facts that were stored with it.

    Raises:
        KwsError: the file is no checkpoint of this program, or of another version of it.
    """
    contents = read_checkpoint(path)
    facts, state = contents[FACTS_KEY], contents.get("state_dict")
    if not isinstance(facts, dict) or not isinstance(state, dict):
        raise KwsError(
            f"expected a checkpoint of this program, {path} has no facts and weights; give another path"
        )
    missing = [key for key in REQUIRED_FACTS if key not in facts]
    if missing:
        raise KwsError(
            f"expected a checkpoint of this program, {path} does not tell its {', '.join(missing)}; train again"
        )
    weights = {
        name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)
    }
    try:
        check_texts(labels=facts["labels"])
        check_whole(sample_rate=facts["sample_rate"], clip_samples=facts["clip_samples"])
        check_mapping(frontend=facts["frontend"], backbone=facts["backbone"])
        modules = _build(facts["frontend"]), _build(facts["backbone"])
        spotter = SpotterModule(*modules, keyword_mask(facts["labels"], facts.get("streams")))
        if facts.get("auxiliary_words") or facts.get("teacher"):
            weights = of_classes(weights, spotter.backbone, len(facts["labels"]))
        spotter.load_state_dict(weights)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise KwsError(
            f"the checkpoint {path} does not fit this version of the program "
            f"({summarize_error(error, MESSAGE_CHARACTERS)}): train again"
        ) from None
    return spotter.eval(), facts


def of_classes(
    weights: dict[str, Tensor], backbone: nn.Module, n_classes: int
) -> dict[str, Tensor]:
    """The weights without the classifier's rows for other words and a teacher's features, which come last."""
    classifier = f"backbone.{classifier_name(backbone)}"
    return {
        name: value[:n_classes] if name.startswith(classifier) else value
        for name, value in weights.items()
    }


def keyword_mask(labels: Sequence[str], streams: bool | None) -> list[bool] | None:
    """Which labels are keywords, where the network was trained on streams; what `SpotterModule` takes."""
    return list(map(is_keyword, labels)) if streams else None


def module_facts(target: str, **arguments: Any) -> dict[str, Any]:
    """What a checkpoint says about a module: the name of its class and its arguments.

    Args:
        target: the dotted name of the class.

    Raises:
        KwsError: a checkpoint could not bring it back.
    """
    name = target.rpartition(".")[2]
    if name not in MODULES:
        raise KwsError(f"expected a front-end or backbone among {', '.join(MODULES)}, got {target}")
    return {"name": name, **arguments}


def _build(node: dict[str, Any]) -> nn.Module:
    """The module that a checkpoint names: a front-end or backbone of this package and nothing else."""
    arguments = dict(node)
    old = arguments.pop("_target_", None)
    name = arguments.pop("name", OLD_NAMES.get(old))
    if name not in MODULES:
        raise KwsError(
            f"expected a module among {', '.join(MODULES)} in the checkpoint, got {name or old!r}; "
            "do not use this file"
        )
    return MODULES[name](**arguments)
