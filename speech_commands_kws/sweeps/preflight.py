"""What would stop every job of a multirun stops the multirun, before anything of it is recorded."""

import sys
from typing import Any

from hydra.experimental.callback import Callback
from hydra.utils import instantiate
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import (
    EXECUTION_WHITELIST,
    build,
    checked,
    exit_on_user_error,
    settings_of,
)
from speech_commands_kws.errors import KwsError, check_whole
from speech_commands_kws.sweeps.comparison import is_study
from speech_commands_kws.sweeps.sweeper import StudySweeper
from speech_commands_kws.training.objectives import check_objectives


class SweepCheck(Callback):
    """A Hydra callback, to stand before those that record: Hydra calls these before its sweeper.

    An exception that does not end the process would become a warning of Hydra's.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exit_on_user_error():
            checked(check_sweep, config)

    def on_multirun_end(self, **_: Any) -> None:
        """A mistake that a job of a plain grid has raised, and that is on its way here, ends with one line too."""
        error = sys.exception()
        if isinstance(error, KwsError):
            with exit_on_user_error():
                raise error


def check_sweep(config: DictConfig) -> None:
    check_objectives(config.sweep.objectives)
    with settings_of("trainer"):
        check_whole(max_epochs=config.trainer.max_epochs)
    if config.sweep.get("pruner"):
        build(config.sweep.pruner)
    if is_study(config):
        sweeper: StudySweeper = instantiate(
            config.hydra.sweeper, _recursive_=False, _execution_whitelist_=EXECUTION_WHITELIST
        )
        sweeper.open(config.hydra.overrides.task, config)
