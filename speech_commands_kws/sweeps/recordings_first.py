"""The recordings of a multirun are fetched once, before its first job."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import build, exit_on_user_error

# What recordings a job uses depends on settings that begin with these.
DECIDING = ("data", "experiment", "paths")


class RecordingsFirst(Callback):
    """A Hydra callback: no two jobs fetch at once, and what cannot be fetched ends the multirun before it begins."""

    def on_multirun_start(self, config: DictConfig, config_name: str, **_: Any) -> None:
        # An exception that does not end the process would become a warning of Hydra's.
        with exit_on_user_error():
            for job in jobs_by_data(config, config_name):
                source = build(job.data.source)
                if hasattr(source, "fetch"):
                    source.fetch()


def jobs_by_data(config: DictConfig, config_name: str) -> Iterator[DictConfig]:
    """The configuration of a job for each choice of recordings that the command line sweeps over."""
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    fixed = [override.input_line for override in given if not override.is_sweep_override()]
    swept = [values_of(override) for override in given if decides(override)]
    if not swept:
        yield config
        return
    for choice in product(*swept):
        yield compose(config_name, [*fixed, *choice])


def decides(override: Override) -> bool:
    """Whether it sweeps over recordings; what is drawn from an interval is no choice of recordings."""
    root = override.get_key_element().lstrip("+").partition(".")[0]
    return root in DECIDING and override.is_discrete_sweep()


def values_of(override: Override) -> list[str]:
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
