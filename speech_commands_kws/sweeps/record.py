"""The record of a multirun: one run in MLflow, the parent of those of its jobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.lock import locked
from speech_commands_kws.sweeps.results import OK, best_of, varied_keys
from speech_commands_kws.tracking.mlflow_run import (
    RUNNING,
    MlflowRun,
    client_of,
    read_record,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import outage_reported, readable_uri

SWEEP_TAG = "sweep"
BEST_PREFIX = "best."
LOCK_FILE = "mlflow.lock"
FINISHED, FAILED = "FINISHED", "FAILED"


def begin_record(config: DictConfig, folder: Path) -> None:
    """Have a parent run with the configuration of the sweep in `folder`, before its first job.

    It is found again by the folder's name, so that processes that share a study, and later starts, share one parent.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    del plain["hydra"]
    settings = {
        "overrides": list(config.hydra.overrides.task),
        "searched": OmegaConf.to_container(config.hydra.sweeper).get("params"),
        "configuration": plain,
    }
    with locked(folder / LOCK_FILE, "recording the sweep"):
        adopt(folder, config.logger)
        logger = parent_logger(folder, config.logger)
        logger.log_tags({SWEEP_TAG: folder.name})
        logger.log_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "sweep.yaml")
        logger.close(RUNNING)


def end_record(
    settings: DictConfig,
    folder: Path,
    ranked: list[dict[str, Any]],
    objectives: Mapping[str, str],
    files: Mapping[str | None, Sequence[Path]],
) -> None:
    """Give the parent run the best job and the files, by their folder among its artifacts, and end it."""
    end_lost_jobs(ranked)
    logger = parent_logger(folder, settings)
    best = best_of(ranked, objectives)
    if best:
        given = {
            f"{BEST_PREFIX}{key}": best[0]["overrides"].get(key, "") for key in varied_keys(ranked)
        }
        logger.log_tags(given | {f"{BEST_PREFIX}run": best[0]["folder"].name})
        logger.log_metrics(dict(zip(objectives, best[0]["values"], strict=True)))
    logger.log_tags({"jobs": len(ranked)})
    for place, paths in files.items():
        logger.log_files(paths, place)
    logger.close(FINISHED if best else FAILED)


def parent_logger(folder: Path, settings: DictConfig) -> Any:
    """The logger of the parent run, which the folder remembers or which begins now."""
    return build(settings, run_folder=str(folder), system_metrics=False)


def adopt(folder: Path, settings: DictConfig) -> None:
    """Make the oldest run of this sweep the parent where the folder remembers none: another machine began it."""
    if read_record(folder):
        return
    try:
        uri = readable_uri(settings.tracking_uri, settings.local_store, settings.probe_seconds)
    except KwsError:  # no store yet: there is nothing to adopt
        return
    with outage_reported("the search for the sweep's run"):
        client = client_of(uri)
        experiment = client.get_experiment_by_name(settings.experiment_name)
        of_sweep = f"tags.{SWEEP_TAG} = '{folder.name}'"
        oldest = ["attributes.start_time ASC"]
        runs = experiment and client.search_runs(
            [experiment.experiment_id], of_sweep, order_by=oldest, max_results=1
        )
        if runs:
            write_record(folder, MlflowRun(uri, runs[0].info.run_id))


def end_lost_jobs(results: list[dict[str, Any]]) -> None:
    """Runs of jobs whose process was killed are not running any more."""
    for result in results:
        record = read_record(result["folder"])
        if record is None or result["status"] == OK or result["values"]:
            continue
        with outage_reported(f"the end of {result['folder'].name}"):
            client = client_of(record.tracking_uri)
            if client.get_run(record.run_id).info.status == RUNNING:
                client.set_terminated(record.run_id, FAILED)
