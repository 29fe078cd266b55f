"""Which model file a command reads, and which engine runs it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from speech_commands_kws.cli.launch import build
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import DISTRIBUTION
from speech_commands_kws.inference.locate import MODEL_FILE, locate_model
from speech_commands_kws.inference.released import WEIGHTS, provenance
from speech_commands_kws.tracking.runs import say_export


def engine_of(backend: DictConfig) -> type[Any]:
    """The class that a configuration of the group `backend` makes.

    Its `is_server` says whether it asks a server, its `suffix` how the names of its model files end.
    """
    return build(backend).func


def find_model(cfg: DictConfig, name: str = MODEL_FILE, released: bool = False) -> Path:
    """The model file asked for; where none is, the newest export of this name, and standard error says which one.

    Args:
        released: where no run has an export, the model that came with the package will do.
    """
    model = locate_model(cfg.model, cfg.paths.runs, build(cfg.registry), name, released)
    if cfg.model is None and model.parent == WEIGHTS:
        reason = provenance()["not_for_use"]
        warning = f"; NOT FOR USE: {reason}" if reason else ""
        package = f"{DISTRIBUTION} {version(DISTRIBUTION)}"
        say(f"model: {name} of {package}, because {cfg.paths.runs} has no export{warning}")
    elif cfg.model is None:
        say_export(model, cfg.paths.runs)
    return model
