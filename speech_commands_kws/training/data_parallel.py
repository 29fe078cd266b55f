"""One training in several processes of one machine (`trainer=ddp`).

Lightning's own launcher types the command line again for each further process. That fails for a console script, and
each process would make a run folder; `further_processes` starts them instead.
"""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.nn.parallel import DistributedDataParallel

from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.errors import KwsError
from speech_commands_kws.training.further_processes import (
    RANK_VARIABLE,
    FurtherProcesses,
    is_first_process,
    own_rank,
    say_ready,
)

STRATEGY = f"{__name__}.LocalDDP"
ALL_DEVICES = (-1, "-1")


class LocalDDP(DDPStrategy):
    """DDP in processes of one machine, by gloo between CPUs and NCCL between GPUs unless a backend is named."""

    def __init__(self, process_group_backend: str | None):
        super().__init__(
            # Named, because inside a SLURM job Lightning would wait for processes that srun starts.
            cluster_environment=LightningEnvironment(),
            process_group_backend=process_group_backend,
        )

    def hand_out(self, configuration: Mapping[str, Any], folder: Path) -> None:
        """Settle what the further processes work on, before `fit` starts them."""
        self.launcher.task = {"configuration": dict(configuration), "folder": str(folder)}

    def _configure_launcher(self) -> None:
        self._launcher = RankLauncher(self.cluster_environment, self.num_processes, self.num_nodes)

    def _setup_model(self, model: torch.nn.Module) -> DistributedDataParallel:
        # Running statistics are broadcast before every forward; constants, such as noise, are the same everywhere.
        kept = model.state_dict().keys()
        constants = [name for name, _ in model.named_buffers() if name not in kept]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, constants)
        return super()._setup_model(model)


class RankLauncher(_SubprocessScriptLauncher):
    task: dict[str, Any]

    def launch(self, function: Any, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        if not is_first_process():
            say_ready()
            return function(*args, **kwargs)
        environment = self.cluster_environment
        address = {
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
        }
        with FurtherProcesses(self.task, self.num_processes, address):
            return function(*args, **kwargs)

    def kill(self, signum: int) -> None:
        """Called by Lightning when this process is told to end; its own way leaves processes that wait for ever."""
        if signum == signal.SIGTERM:
            raise KwsError("the training was told to end (SIGTERM); it can go on with resume=true")


def n_processes(trainer: Mapping[str, Any]) -> int:
    """Processes that the settings of a trainer ask for: one for each of its devices."""
    devices = trainer.get("devices")
    if devices in (None, "auto", *ALL_DEVICES):
        return 1 if trainer.get("accelerator") == "cpu" else max(1, torch.cuda.device_count())
    if isinstance(devices, str):
        return devices.count(",") + 1 if "," in devices else int(devices)
    return devices if isinstance(devices, int) else len(devices)


def own_shard(trainer: Mapping[str, Any]) -> Shard:
    """What this process gets of every batch."""
    return Shard(own_rank(), n_processes(trainer))


def check_processes(trainer: Mapping[str, Any], is_multirun: bool) -> None:
    """Refuse settings of a trainer that ask for processes in a way that cannot work, before anything is made.

    Raises:
        KwsError
    """
    strategy = trainer.get("strategy")
    if strategy in (None, "auto") and n_processes(trainer) == 1:
        return
    given = f"trainer.devices={trainer.get('devices')}" + (" with a strategy" if strategy else "")
    if is_multirun:
        raise KwsError(
            f"expected one device and no trainer.strategy for each training of a multirun, got {given}: a search "
            f"trains many models, trainer=ddp one model in several processes; search with trainer=default, then train "
            f"with the best settings and trainer=ddp"
        )
    if not isinstance(strategy, Mapping) or strategy["_target_"] != STRATEGY:
        raise KwsError(f"expected trainer=ddp for several devices, got {given}; add trainer=ddp")
    gpus = 0 if trainer.get("accelerator") == "cpu" else torch.cuda.device_count()
    if 0 < gpus < n_processes(trainer):
        raise KwsError(
            f"expected a GPU for each device, got {given} with {gpus} GPU: lower trainer.devices, or add "
            f"trainer.accelerator=cpu"
        )
    if trainer.get("num_nodes", 1) != 1:
        raise KwsError("expected trainer.num_nodes=1, since trainer=ddp works on one machine")
    if RANK_VARIABLE in os.environ and is_first_process():
        raise KwsError(
            f"trainer=ddp starts its processes itself, but {RANK_VARIABLE} is set, as torchrun and srun do; start the "
            f"command once, without them"
        )
