"""What would stop every job of a multirun stops the multirun, before anything of it is made."""

from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.utils import instantiate
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import EXECUTION_WHITELIST, build, settings_of
from speech_commands_kws.errors import KwsError, check_whole
from speech_commands_kws.sweeps.sweeper import StudySweeper
from speech_commands_kws.training.objectives import check_objectives

STUDY_SWEEPER = f"{StudySweeper.__module__}.{StudySweeper.__name__}"
ALL_DEVICES = (None, "auto", -1, "-1")
NO_STRATEGY = (None, "auto")
# What recordings a job uses depends on settings that begin with these.
DECIDING = ("data", "experiment", "paths")


def is_study(config: DictConfig) -> bool:
    """Whether the jobs of a multirun are the trials of a study, and not a plain grid."""
    return config.hydra.sweeper.get("_target_") == STUDY_SWEEPER


def check_multirun(config: DictConfig) -> None:
    """What differs between the jobs is not known here; each job looks at that itself.

    Raises:
        KwsError: the settings of the search do not fit, or each training would use several processes.
    """
    check_one_process(config.get("trainer") or {})
    check_objectives(config.sweep.objectives)
    if config.get("trainer"):
        with settings_of("trainer"):
            check_whole(max_epochs=config.trainer.max_epochs)
    if config.sweep.get("pruner"):
        build(config.sweep.pruner)
    if is_study(config):
        sweeper: StudySweeper = instantiate(
            config.hydra.sweeper, _recursive_=False, _execution_whitelist_=EXECUTION_WHITELIST
        )
        sweeper.open(config.hydra.overrides.task, config)


def check_one_process(trainer: Mapping[str, Any]) -> None:
    """The processes of one training would each begin the multirun again."""
    strategy, machines = trainer.get("strategy"), trainer.get("num_nodes", 1)
    if strategy in NO_STRATEGY and n_devices(trainer) * machines == 1:
        return
    given = f"trainer.devices={trainer.get('devices')}"
    given += " with a strategy" if strategy else ""
    given += f" on {machines} machines" if machines != 1 else ""
    raise KwsError(
        f"expected one device and no trainer.strategy for each training of a multirun, got {given}: a search trains "
        f"many models, trainer=ddp one model in several processes; search with trainer=default, then train with the "
        f"best settings and trainer=ddp"
    )


def n_devices(trainer: Mapping[str, Any]) -> int:
    """How many devices Lightning makes of `devices`: a number, a list of indices, or all there are."""
    devices = trainer.get("devices")
    if devices in ALL_DEVICES:
        from torch.cuda import device_count

        return 1 if trainer.get("accelerator") == "cpu" else max(1, device_count())
    if isinstance(devices, str):
        return devices.count(",") + 1 if "," in devices else int(devices)
    return devices if isinstance(devices, int) else len(devices)


def fetch_recordings(config: DictConfig) -> None:
    """Fetch what is missing once, before the jobs; where they differ in their recordings, each fetches its own.

    Raises:
        KwsError: something cannot be fetched.
    """
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    if config.get("data") and not any(map(decides, given)):
        source = build(config.data.source)
        if hasattr(source, "fetch"):
            source.fetch()


def decides(override: Override) -> bool:
    """Whether it sweeps over recordings."""
    root = override.get_key_element().lstrip("+").partition(".")[0]
    return root in DECIDING and override.is_sweep_override()
