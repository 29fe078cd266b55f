"""One training in several processes (`trainer=ddp`): Lightning's DDP, which starts the command again for each device.

On one machine the processes meet through a file and talk over the loopback interface, so that no port is open to the
network. Where torchrun or srun has started them, they meet as it says.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping, MutableSequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import __main__
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.nn.parallel import DistributedDataParallel

from speech_commands_kws.errors import KwsError

COMMAND = "speech_commands_kws.train"
MEETING_FILE = "KWS_MEETING_FILE"  # environment variable; started processes inherit it
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
LOSS_SECONDS = 3.0  # between the loss of a connection and the end of the process that caused it
LOOK_SECONDS = 0.1
ONE_DEVICE = (1, "1", None, "auto")  # where "auto" finds several, the training refuses them


class LocalDDP(DDPStrategy):
    """DDP, by gloo between CPUs and NCCL between GPUs unless a backend is named.

    Attributes:
        has_lost_process: a process that this one started has failed, and with it the training.
    """

    has_lost_process = False

    def __init__(self, process_group_backend: str | None):
        super().__init__(process_group_backend=process_group_backend)

    def _configure_launcher(self) -> None:
        if __main__.__spec__ is None:  # what began as `kws train` goes on as `python -m`
            __main__.__spec__ = find_spec(COMMAND)
        if self.num_nodes == 1 and not self.cluster_environment.creates_processes_externally:
            os.environ[MEETING_FILE] = str(Path(tempfile.gettempdir(), f"kws_{uuid4().hex}"))
            for name in INTERFACE_VARIABLES:
                os.environ.setdefault(name, LOOPBACK)
        super()._configure_launcher()

    def setup_distributed(self) -> None:
        meets_here = isinstance(self.cluster_environment, LightningEnvironment)
        if meets_here and MEETING_FILE in os.environ:
            self.set_world_ranks()
            torch.distributed.init_process_group(
                self._get_process_group_backend(),
                init_method=f"file://{os.environ[MEETING_FILE]}",
                rank=self.cluster_environment.global_rank(),
                world_size=self.cluster_environment.world_size(),
            )
        super().setup_distributed()  # which takes a group that is there

    def _setup_model(self, model: torch.nn.Module) -> DistributedDataParallel:
        # Running statistics are broadcast before every forward; constants, such as noise, are the same everywhere.
        kept = model.state_dict().keys()
        constants = [name for name, _ in model.named_buffers() if name not in kept]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, constants)
        return super()._setup_model(model)

    def on_exception(self, exception: BaseException) -> None:
        """End the processes that this one has started, which would wait for it."""
        processes = getattr(self.launcher, "procs", [])
        deadline = time.monotonic() + LOSS_SECONDS
        # A lost connection is seen before the end of the process that it led to.
        while processes and isinstance(exception, RuntimeError) and not self.has_lost_process:
            self.has_lost_process = any(process.poll() for process in processes)
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        for process in processes:
            process.kill()
            process.wait()
        # Lightning's observer ends this process too when it sees that one has failed: the message would be lost.
        processes.clear()


def is_first_process() -> bool:
    """Whether this process writes the record of a training: the only one, or that of rank 0."""
    return rank_zero_only.rank == 0


def check_processes(trainer: Mapping[str, Any], is_multirun: bool) -> None:
    """Refuse the settings of a trainer that ask each training of a multirun for several processes.

    Raises:
        KwsError
    """
    devices, strategy = trainer.get("devices"), trainer.get("strategy")
    is_one = devices in ONE_DEVICE or (isinstance(devices, MutableSequence) and len(devices) == 1)
    if is_multirun and not (is_one and strategy in (None, "auto")):
        given = f"trainer.devices={devices}" + (" with a strategy" if strategy else "")
        raise KwsError(
            f"expected one device and no trainer.strategy for each training of a multirun, got {given}: a search "
            f"trains many models, trainer=ddp one model in several processes; search with trainer=default, then train "
            f"with the best settings and trainer=ddp"
        )
