"""The record of a multirun: one run in MLflow, the parent of those of its jobs, and the graphs of the search.

Hydra loads this module at the start of every training, so it imports nothing slow.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import checked, exit_on_user_error
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.lock import locked
from speech_commands_kws.sweeps.comparison import (
    OK,
    TABLE_NAME,
    front,
    is_study,
    rank,
    read_results,
    varied_keys,
)

SWEEP_TAG = "sweep"
BEST_PREFIX = "best."
PLOTS = "plots"
LOCK_FILE = "mlflow.lock"
RUNNING, FINISHED, FAILED = "RUNNING", "FINISHED", "FAILED"

LOG = logging.getLogger(__name__)


class SweepRecord(Callback):
    """A Hydra callback: the parent run is there before the first job, and gets the best at the end.

    It is found again by the sweep's name, so that processes that share a study, and later starts, share one parent.
    """

    def __init__(self, objectives: Mapping[str, str] | None) -> None:
        """Name what `train` returns, in its order, and say whether to maximize or minimize it."""
        self.objectives = dict(objectives or {})
        self.began = False

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        if config.get("logger"):
            with exit_on_user_error():
                checked(begin, config)
        self.began = True

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not self.began:  # Hydra calls the end of a multirun that was refused too
            return
        folder = sweep_folder(config)
        results = read_results(folder)
        pictures = self._draw(config, results, folder) if results else []
        if not config.get("logger"):
            return
        end_lost_jobs(results)
        logger = parent_logger(folder, config.logger)
        best = front(rank(results, self.objectives), self.objectives)
        if best:
            chosen = {
                f"{BEST_PREFIX}{key}": best[0]["overrides"].get(key, "")
                for key in varied_keys(results)
            }
            logger.log_tags(chosen | {f"{BEST_PREFIX}run": best[0]["folder"].name})
            logger.log_metrics(dict(zip(self.objectives, best[0]["values"], strict=True)))
        logger.log_metrics({"jobs": len(results)})
        logger.log_files(pictures, PLOTS)
        logger.log_files([path for path in [folder / TABLE_NAME] if path.is_file()], None)
        logger.close(FINISHED if best else FAILED)

    def _draw(self, config: DictConfig, results: list[dict[str, Any]], folder: Path) -> list[Path]:
        from speech_commands_kws.sweeps.figures import plot_study, study_of_grid
        from speech_commands_kws.sweeps.study import load_study

        try:
            if is_study(config):
                study = load_study(config.sweep.name, config.sweep.storage)
            else:
                study = study_of_grid(results, self.objectives)
        except KwsError as error:
            LOG.warning("no graphs of the sweep: %s", error)
            return []
        return plot_study(study, list(self.objectives), folder / PLOTS)


def begin(config: DictConfig) -> None:
    """Have a parent run, new or found, with the configuration of the sweep."""
    folder = sweep_folder(config)
    with locked(folder / LOCK_FILE, "recording the sweep"):
        _begin(config, folder)


def _begin(config: DictConfig, folder: Path) -> None:
    adopt(folder, config.logger)
    plain = OmegaConf.to_container(config, resolve=False)
    del plain["hydra"]
    settings = {
        "overrides": list(config.hydra.overrides.task),
        "searched": OmegaConf.to_container(config.hydra.sweeper).get("params"),
        "configuration": plain,
    }
    logger = parent_logger(folder, config.logger)
    logger.log_tags({SWEEP_TAG: folder.name})
    logger.log_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "sweep.yaml")
    logger.close(RUNNING)
    adopt(folder, config.logger)


def sweep_folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def parent_logger(folder: Path, settings: DictConfig) -> Any:
    """The logger of the parent run, which the folder remembers or which begins now."""
    from speech_commands_kws.tracking.recording import mlflow_logger

    plain = OmegaConf.to_container(settings)
    del plain["_target_"]
    plain |= {"run_folder": folder, "local_store": settings.local_store, "system_metrics": False}
    return mlflow_logger(**plain)


def adopt(folder: Path, settings: DictConfig) -> None:
    """Make the oldest run of this sweep the parent.

    Called before one is begun and again after: of two processes that began one at once, the younger's is removed.
    """
    from speech_commands_kws.tracking.mlflow_run import (
        MlflowRun,
        client_of,
        read_record,
        write_record,
    )
    from speech_commands_kws.tracking.mlflow_store import outage_reported, readable_uri

    own = read_record(folder)
    try:
        uri = (
            own.tracking_uri
            if own
            else readable_uri(settings.tracking_uri, settings.local_store, settings.probe_seconds)
        )
    except KwsError:  # no store yet: there is nothing to adopt
        return
    client = client_of(uri)
    with outage_reported("the search for the sweep's run"):
        experiment = client.get_experiment_by_name(settings.experiment_name)
        if experiment is None:
            return
        runs = client.search_runs(
            [experiment.experiment_id],
            f"tags.{SWEEP_TAG} = '{folder.name}'",
            order_by=["attributes.start_time ASC"],
        )
        if runs and (own is None or own.run_id != runs[0].info.run_id):
            write_record(folder, MlflowRun(uri, runs[0].info.run_id))
            if own and own.run_id in {run.info.run_id for run in runs}:
                client.delete_run(own.run_id)


def end_lost_jobs(results: list[dict[str, Any]]) -> None:
    """Runs of jobs whose process was killed are not running any more."""
    from speech_commands_kws.tracking.mlflow_run import client_of, read_record
    from speech_commands_kws.tracking.mlflow_store import outage_reported

    for result in results:
        record = read_record(result["folder"])
        if record is None or result["status"] == OK or result["values"]:
            continue
        with outage_reported(f"the end of {result['folder'].name}"):
            client = client_of(record.tracking_uri)
            if client.get_run(record.run_id).info.status == RUNNING:
                client.set_terminated(record.run_id, FAILED)
