"""Records a training in MLflow.

A run folder remembers its MLflow run (`mlflow.json`), so that a resumed training, an evaluation or an export in
another process adds to the same one. MLflow and Lightning are imported where they are used: both take seconds.
"""

import json
import logging
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speech_commands_kws.errors import KwsError
from speech_commands_kws.mlflow_store import (
    artifact_folder,
    exclusive_use,
    first_line,
    outage_reported,
    prepare_client,
    store_fault,
    usable_uri,
)

if TYPE_CHECKING:
    from lightning.pytorch.loggers import MLFlowLogger
    from mlflow.tracking import MlflowClient

LOG = logging.getLogger(__name__)
CODE_FOLDER = Path(__file__).resolve().parent
RECORD_NAME = "mlflow.json"
PROBE_SECONDS = 1.5
PARAMS_A_BATCH = 100  # MLflow refuses more in one request


class MlflowRun(NamedTuple):
    """Where the MLflow run of a run folder is found."""

    tracking_uri: str
    run_id: str


def mlflow_logger(
    tracking_uri: str | None,
    experiment_name: str,
    run_folder: str | Path,
    local_store: str | Path,
    probe_seconds: float = PROBE_SECONDS,
) -> "MLFlowLogger":
    """Lightning's logger for the MLflow run of `run_folder`: continued where it exists, otherwise begun.

    Where no server answers at `tracking_uri` within `probe_seconds`, or none is named, the record goes to
    `local_store/mlflow.db`. Any other kind of store (`sqlite:///…`, `databricks`, …) is used as given.

    Raises:
        KwsError: the store refuses, or cannot be written.
    """
    prepare_client()
    from mlflow.exceptions import MlflowException

    run_folder = Path(run_folder)
    earlier = read_record(run_folder)
    if earlier and store_fault(earlier.tracking_uri, probe_seconds):
        earlier = None
    uri = earlier.tracking_uri if earlier else usable_uri(tracking_uri, local_store, probe_seconds)
    try:
        with exclusive_use(uri):
            logger = _open_run(uri, experiment_name, run_folder, earlier)
    except (MlflowException, sqlite3.Error, OSError) as error:
        raise KwsError(
            f"the MLflow store {uri} refused: {first_line(error)}; name another with"
            " logger.tracking_uri= or logger.experiment_name=, or train without: logger=none"
        ) from error
    write_record(run_folder, MlflowRun(uri, logger.run_id))
    return logger


def _open_run(
    uri: str, experiment_name: str, run_folder: Path, earlier: MlflowRun | None
) -> "MLFlowLogger":
    from mlflow.tracking import MlflowClient

    from speech_commands_kws.steady_logger import SteadyMLFlowLogger

    client = MlflowClient(uri)
    if earlier:
        client.update_run(earlier.run_id, status="RUNNING")
    else:
        _ensure_experiment(client, experiment_name, artifact_folder(uri))
    logger = SteadyMLFlowLogger(
        experiment_name=experiment_name,
        run_name=run_name(run_folder),
        tracking_uri=uri,
        run_id=earlier and earlier.run_id,
    )
    _ = logger.experiment  # Lightning begins the run here
    return logger


def _ensure_experiment(client: "MlflowClient", name: str, artifacts: Path | None) -> None:
    from mlflow.exceptions import MlflowException

    if client.get_experiment_by_name(name):
        return
    try:
        # Without a location the artifacts of a SQLite store would lie in ./mlruns of the current folder.
        client.create_experiment(name, artifacts and artifacts.as_uri())
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise


def run_name(run_folder: Path) -> str:
    """The folder's name; a numbered job of a sweep is named with its sweep: `<sweep>/0`."""
    return "/".join(run_folder.parts[-2:]) if run_folder.name.isdigit() else run_folder.name


def read_record(run_folder: str | Path) -> MlflowRun | None:
    path = Path(run_folder) / RECORD_NAME
    return MlflowRun(**json.loads(path.read_text("utf-8"))) if path.is_file() else None


def write_record(run_folder: Path, record: MlflowRun) -> None:
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / RECORD_NAME).write_text(json.dumps(record._asdict()), "utf-8")


def log_start(
    logger: "MLFlowLogger | None", config: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Record what a training is made of: all hyper-parameters, the resolved `config.yaml`, the code's version.

    Numbers among the `facts` become metrics, which MLflow sorts and plots, other values tags; mappings are left
    out, since the configuration holds them.
    """
    if logger is None:
        return
    client, run_id = logger.experiment, logger.run_id
    with outage_reported("the configuration"):
        client.log_dict(run_id, dict(config), "config.yaml")
        _log_params(client, run_id, flatten(config))
        for key, value in (_code_version() | dict(facts)).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                client.log_metric(run_id, key, value)
            elif not isinstance(value, Mapping):
                client.set_tag(run_id, key, str(value))


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params  # a resumed run has them; MLflow lets none change
    new = [Param(key, str(value)) for key, value in params.items() if key not in known]
    for i in range(0, len(new), PARAMS_A_BATCH):
        client.log_batch(run_id, params=new[i : i + PARAMS_A_BATCH])


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


def log_artifacts(
    logger: "MLFlowLogger | None", paths: Iterable[str | Path], artifact_path: str | None = None
) -> None:
    """Record files or folders of the training that `logger` records, under the name `artifact_path`."""
    if logger is not None:
        _log_paths(logger.experiment, logger.run_id, paths, artifact_path)


def log_to_run(
    run_folder: str | Path,
    paths: Iterable[str | Path] = (),
    artifact_path: str | None = None,
    metrics: Mapping[str, float] | None = None,
    probe_seconds: float = PROBE_SECONDS,
) -> None:
    """Record files and metrics with the MLflow run of `run_folder`; nothing happens where it has none."""
    record = read_record(run_folder)
    if record is None:
        return
    fault = store_fault(record.tracking_uri, probe_seconds)
    if fault:
        LOG.warning("not recorded: no MLflow store at %s (%s)", record.tracking_uri, fault)
        return
    prepare_client()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(record.tracking_uri)
    with outage_reported("the metrics"):
        for key, value in (metrics or {}).items():
            client.log_metric(record.run_id, key, value)
    _log_paths(client, record.run_id, paths, artifact_path)


def log_model_file(run_folder: str | Path, path: str | Path) -> None:
    """Record an exported model with the MLflow run of `run_folder`."""
    log_to_run(run_folder, [path], "model")


def _log_paths(
    client: "MlflowClient", run_id: str, paths: Iterable[str | Path], artifact_path: str | None
) -> None:
    for path in map(Path, paths):
        with outage_reported(str(path)):
            if path.is_dir():
                client.log_artifacts(run_id, path, artifact_path)
            else:
                client.log_artifact(run_id, path, artifact_path)
