from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import exit_on_user_error
from speech_commands_kws.training.data_parallel import check_processes


class OneProcessEach(Callback):
    """A Hydra callback: a multirun whose trainings would each use several processes ends before its first job.

    What differs between the jobs is not known then; each job looks at that itself.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        # An exception that does not end the process would become a warning of Hydra's.
        with exit_on_user_error():
            check_processes(config.trainer, is_multirun=True)
