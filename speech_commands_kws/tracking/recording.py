"""Records a training in MLflow.

A run folder remembers its MLflow run (`mlflow.json`), so that a resumed training, an evaluation or an export in
another process adds to the same one. MLflow and Lightning are imported where they are used: both take seconds.
"""

import logging
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.tracking.mlflow_run import (
    RUNNING,
    MlflowRun,
    begin_run,
    client_of,
    read_record,
    write_record,
)
from speech_commands_kws.tracking.mlflow_store import (
    STORE_NAME,
    is_server,
    prepare_client,
    sqlite_uri,
    store_fault,
    usable_uri,
)
from speech_commands_kws.tracking.run_log import (
    RunWriter,
    StoreUnavailable,
    metrics_entry,
    path_entry,
    sync,
)
from speech_commands_kws.training.objectives import COUNTS

if TYPE_CHECKING:
    from speech_commands_kws.tracking.buffered_logger import BufferedMLFlowLogger

LOG = logging.getLogger(__name__)
CODE_FOLDER = Path(__file__).resolve().parent.parent
PROBE_SECONDS = 3.0
RETRY_SECONDS = 3.0
CLOSE_SECONDS = 5.0
SYSTEM_METRICS_SECONDS = 10.0
PARENT_TAG = "mlflow.parentRunId"
PARENT_FACT = "parent"
DESCRIPTION_TAG = "mlflow.note.content"


def mlflow_logger(
    tracking_uri: str | None,
    experiment_name: str,
    run_folder: str | Path,
    local_store: str | Path,
    probe_seconds: float = PROBE_SECONDS,
    retry_seconds: float = RETRY_SECONDS,
    close_seconds: float = CLOSE_SECONDS,
    system_metrics: bool = False,
    system_metrics_seconds: float = SYSTEM_METRICS_SECONDS,
) -> "BufferedMLFlowLogger":
    """Lightning's logger for the MLflow run of `run_folder`: continued where it exists, otherwise begun.

    Where no server answers at `tracking_uri` within `probe_seconds`, or none is named, the record goes to
    `local_store/mlflow.db`. Any other kind of store (`sqlite:///…`, `databricks`, …) is used as given. Where the
    folder above `run_folder` holds a record, as that of a sweep does, the run is its child, in the same store.

    Raises:
        KwsError: the store refuses, or cannot be written.
    """
    prepare_client()
    from mlflow.exceptions import MlflowException

    from speech_commands_kws.tracking.buffered_logger import BufferedMLFlowLogger

    run_folder = Path(run_folder).absolute()
    parent = read_record(run_folder.parent)
    if parent and store_fault(parent.tracking_uri, probe_seconds) is None:
        tracking_uri = parent.tracking_uri
    begin = partial(
        begin_run,
        experiment_name=experiment_name,
        name=run_name(run_folder),
        tags={PARENT_TAG: parent.run_id} if parent else {},
    )
    earlier = _earlier_run(run_folder, tracking_uri, probe_seconds)
    uri = earlier.tracking_uri if earlier else usable_uri(tracking_uri, local_store, probe_seconds)
    try:
        record = earlier or begin(uri)
        if earlier and is_server(uri) and store_fault(uri, probe_seconds) is None:
            client_of(uri).search_experiments(max_results=1)  # the login must still be good
    except (MlflowException, OSError) as error:
        raise KwsError(
            f"the MLflow store {uri} refused: {summarize_error(error)}; name another with"
            " logger.tracking_uri= or logger.experiment_name=, log in with MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD, or train without: logger=none"
        ) from error
    write_record(run_folder, record)
    logger = BufferedMLFlowLogger(
        record,
        run_folder,
        begin_locally=lambda began: begin(sqlite_uri(Path(local_store) / STORE_NAME), began=began),
        probe_seconds=probe_seconds,
        retry_seconds=retry_seconds,
        close_seconds=close_seconds,
        system_metrics_seconds=system_metrics_seconds if system_metrics else None,
    )
    if earlier:
        logger.log_status(RUNNING)
    return logger


def _earlier_run(
    run_folder: Path, tracking_uri: str | None, probe_seconds: float
) -> MlflowRun | None:
    """The run that the folder remembers, unless its store is gone; a server that is away now may come back."""
    record = read_record(run_folder)
    if record is None or store_fault(record.tracking_uri, probe_seconds) is None:
        return record
    is_awaited = is_server(record.tracking_uri) and record.tracking_uri == tracking_uri
    return record if is_awaited else None


def run_name(run_folder: Path) -> str:
    """The folder's name; a job of a sweep is `0_<sweep>`, because lists of runs show the beginning of a name."""
    number, sweep = run_folder.name, run_folder.parent.name
    return f"{number}_{sweep}" if number.isdigit() else number


@contextmanager
def recorded(logger: "BufferedMLFlowLogger | None") -> Iterator[None]:
    """A training that `logger` records: at its end, however it ends, what is not delivered yet is."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        if logger is not None:
            logger.close(status)


def log_start(
    logger: "BufferedMLFlowLogger | None", config: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Record what a training is made of: all hyper-parameters, the resolved `config.yaml`, the code's version.

    The size of the network is a parameter, which MLflow sorts and plots, the other `facts` are tags; of mappings only
    the parent of the training is, since the configuration holds the others.
    """
    if logger is None:
        return
    facts = _code_version() | dict(facts)
    sizes = {key: facts.pop(key) for key in COUNTS if key in facts}
    logger.log_hyperparams(flatten(config) | sizes)
    tags = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    tags |= flatten({key: value for key, value in facts.items() if key == PARENT_FACT})
    if "data" in facts:
        tags[DESCRIPTION_TAG] = f"{', '.join(facts.get('labels', ()))}; data: {facts['data']}"
    logger.log_tags(tags)
    if {"data", "data_fingerprint"} <= facts.keys():
        logger.log_dataset(facts["data"], facts["data_fingerprint"])
    logger.log_text(
        yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), "config.yaml"
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optimizer": {"lr": 0.1}}` becomes `{"optimizer.lr": 0.1}`, the name that overrides it."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _code_version() -> dict[str, str]:
    commit, dirty = git_commit(CODE_FOLDER)
    if commit is None:
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}


def git_commit(folder: Path) -> tuple[str | None, bool]:
    """The commit of the repository that tracks `folder`, and whether anything in it is changed or new.

    (None, False) outside a repository, also where the folder only lies in one, as an installed package may.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit or not _git(folder, "ls-files"):
        return None, False
    return commit, bool(_git(folder, "status", "--porcelain"))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def log_to_run(
    run_folder: str | Path,
    paths: Iterable[str | Path] = (),
    artifact_path: str | None = None,
    metrics: Mapping[str, float] | None = None,
    probe_seconds: float = PROBE_SECONDS,
) -> None:
    """Record files and metrics with the MLflow run of `run_folder`; nothing happens where it has none.

    What the training could not send goes with them.
    """
    record = read_record(run_folder)
    if record is None:
        return
    entries = [metrics_entry(metrics)] if metrics else []
    entries += [path_entry(path, artifact_path) for path in paths]
    writer = RunWriter(record, probe_seconds)
    try:
        sync(Path(run_folder), writer)
        writer.send(entries)
    except StoreUnavailable as reason:
        LOG.warning("not recorded by MLflow at %s: %s", record.tracking_uri, reason)
