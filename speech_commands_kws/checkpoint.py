"""Checkpoints are plain data: tensors and JSON-able values, read back without running code from the file."""

import pickle
import zipfile
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from torch import nn

from speech_commands_kws.errors import KwsError
from speech_commands_kws.spotter_module import SpotterModule

FACTS_KEY = "facts"
PREFIX = "spotter."
OWN_CODE = "speech_commands_kws."


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
    """The trained module, in evaluation mode, and the facts that were stored with it."""
    contents = read_checkpoint(path)
    facts = contents[FACTS_KEY]
    spotter = SpotterModule(_build(facts["frontend"]), _build(facts["backbone"]))
    weights = {
        name.removeprefix(PREFIX): value
        for name, value in contents["state_dict"].items()
        if name.startswith(PREFIX)
    }
    spotter.load_state_dict(weights)
    return spotter.eval(), facts


def _build(node: dict[str, Any]) -> nn.Module:
    arguments = dict(node)
    target = arguments.pop("_target_")
    if not target.startswith(OWN_CODE):
        raise KwsError(
            f"expected a module of this package in the checkpoint, got {target}; do not use this file"
        )
    try:
        return locate(target)(**arguments)
    except TypeError as error:
        raise KwsError(
            f"the checkpoint is of another version of {target} ({error}): train again"
        ) from None
