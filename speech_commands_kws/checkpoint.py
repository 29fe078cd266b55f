"""Checkpoints are plain data: tensors and JSON-able values, read back without running code from the file."""

import pickle
import re
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speech_commands_kws.errors import KwsError
from speech_commands_kws.spotter_module import SpotterModule

FACTS_KEY = "facts"
PREFIX = "spotter."
OWN_MODULES = re.compile(r"speech_commands_kws\.(frontend|models\.\w+)", re.ASCII)
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
        spotter = SpotterModule(_build(facts["frontend"]), _build(facts["backbone"]))
        spotter.load_state_dict(weights)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
        raise KwsError(
            f"the checkpoint {path} does not fit this version of the program ({_first_line(error)}): train again"
        ) from None
    return spotter.eval(), facts


def _build(node: dict[str, Any]) -> nn.Module:
    arguments = dict(node)
    return _module_class(arguments.pop("_target_", None))(**arguments)


def _module_class(target: Any) -> type[nn.Module]:
    """The class that a checkpoint names: a front-end or backbone of this package and nothing else.

    A name may not lead through what a module imports, to `subprocess.run` perhaps.
    """
    module_name, _, name = str(target).rpartition(".")
    found = None
    if OWN_MODULES.fullmatch(module_name):
        try:
            found = getattr(import_module(module_name), name, None)
        except ImportError:
            pass
    is_module = isinstance(found, type) and issubclass(found, nn.Module)
    if not is_module or found.__module__ != module_name:
        raise KwsError(
            f"expected a module of this package in the checkpoint, got {target!r}; do not use this file"
        )
    return found


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MESSAGE_CHARACTERS] or type(error).__name__
