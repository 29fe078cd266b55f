"""What surrounds the jobs of a multirun: checks before the first, a result of each, a comparison and a record after.

One Hydra callback, because Hydra calls several in the order of their names in the configuration, and a multirun must be
checked before anything of it is recorded. Hydra loads this module at the start of every training, so it imports nothing
slow.
"""

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from speech_commands_kws.cli.launch import checked, exit_on_user_error
from speech_commands_kws.cli.overrides import quoted
from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.preflight import check_multirun, fetch_recordings, is_study
from speech_commands_kws.sweeps.record import begin_record, end_record
from speech_commands_kws.sweeps.results import OK, outcome_of, rank, read_results, write_result
from speech_commands_kws.tracking.runs import check_name

PLOTS = "plots"
SWEEP = "sweep"  # what the name of its folder ends with

LOG = logging.getLogger(__name__)


class Multirun(Callback):
    """A Hydra callback that leaves a single run alone.

    An exception that does not end the process would become a warning of Hydra's.
    """

    def __init__(self, objectives: Mapping[str, str] | None) -> None:
        """Name what `train` returns, in its order, and say whether to maximize or minimize it."""
        self.objectives = dict(objectives or {})
        self.began = False
        self.started = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exit_on_user_error():
            checked(begin, config)
        self.began = True

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        seconds = round(time.monotonic() - self.started, 1)
        outcome = outcome_of(job_return, len(self.objectives))
        values, status = (None, outcome) if isinstance(outcome, str) else (outcome, OK)
        folder = Path(config.hydra.runtime.output_dir)
        write_result(folder, job_return.overrides, values, status, seconds)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Compare and record; a mistake that ends the multirun, and is on its way here, becomes one line."""
        mistake = sys.exception()
        try:
            if self.began:  # Hydra calls the end of a multirun that was refused too
                end(config, self.objectives)
        finally:
            if isinstance(mistake, KwsError):
                with exit_on_user_error():
                    raise mistake


def begin(config: DictConfig) -> None:
    name_folder(config)
    check_multirun(config)
    fetch_recordings(config)
    if config.get("logger"):
        begin_record(config, Path(config.hydra.sweep.dir).absolute())


def name_folder(config: DictConfig) -> None:
    """Give the folder of the sweep the name of the command line, where all jobs have that one."""
    own, set_by_hydra = config.hydra.overrides.task, config.hydra.overrides.hydra
    is_given = any(override.startswith("name=") for override in own)
    if not is_given or is_study(config) or any("sweep.dir=" in each for each in set_by_hydra):
        return
    check_name(config.name)
    folder = f"{config.hydra.sweep.dir.removesuffix(SWEEP)}{config.name}_{SWEEP}"
    with read_write(config.hydra):
        config.hydra.sweep.dir = folder
        set_by_hydra.append(
            f"hydra.sweep.dir={quoted(folder)}"
        )  # for the jobs, which are composed anew


def end(config: DictConfig, objectives: Mapping[str, str]) -> None:
    from speech_commands_kws.sweeps.comparison import TABLE_NAME, show

    folder = Path(config.hydra.sweep.dir).absolute()
    ranked = rank(read_results(folder), objectives)
    pictures: list[Path] = []
    if ranked:
        show(ranked, objectives, folder)
        pictures = draw(config, ranked, objectives, folder / PLOTS)
    if config.get("logger"):
        files = {PLOTS: pictures, None: [folder / TABLE_NAME] if ranked else []}
        end_record(config.logger, folder, ranked, objectives, files)


def draw(
    config: DictConfig,
    ranked: list[dict[str, Any]],
    objectives: Mapping[str, str],
    folder: Path,
) -> list[Path]:
    from speech_commands_kws.sweeps.figures import plot_study, study_of_grid
    from speech_commands_kws.sweeps.study import load_study

    try:
        if is_study(config):
            study = load_study(config.sweep.name, config.sweep.storage)
        else:
            study = study_of_grid(ranked, objectives)
    except KwsError as error:
        LOG.warning("no graphs of the sweep: %s", error)
        return []
    return plot_study(study, list(objectives), folder)
