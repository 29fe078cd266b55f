"""Which engine runs a model."""

from typing import Any

from omegaconf import DictConfig

from speech_commands_kws.cli.launch import build


def engine_of(backend: DictConfig) -> type[Any]:
    """The class that a configuration of the group `backend` makes.

    Its `is_server` says whether it asks a server, its `suffix` how the names of its model files end.
    """
    return build(backend).func
