"""Fetches a model from MLflow's registry by its address, `models:/<name>@<alias>` or `models:/<name>/<version>`.

A program that runs files only needs no MLflow, so it is imported where an address is resolved.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from speech_commands_kws.errors import KwsError, masked, summarize_error
from speech_commands_kws.inference.locate import MODEL_FILE
from speech_commands_kws.tracking.mlflow_store import client_of, readable_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
SHA256_TAG = "sha256"
KEY_CHARACTERS = 12
# What a store answers where a name, a version or an alias does not exist.
NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def fetch_model(
    address: str,
    tracking_uri: str | None,
    local_store: str | Path,
    cache: str | Path,
    probe_seconds: float,
) -> Path:
    """The file of a registered model, in the store that trainings with these settings record in.

    Args:
        address: `models:/<name>@<alias>` or `models:/<name>/<version>`.
        cache: folder that keeps fetched files, by name and version.

    Raises:
        KwsError: there is no store, or no such model in it.
    """
    uri = readable_uri(tracking_uri, local_store, probe_seconds)
    with mlflow_at(uri) as client:
        return download(client, find_version(client, address), cache)


@contextmanager
def mlflow_at(uri: str) -> Iterator["MlflowClient"]:
    """A client of the store; MLflow's functions that take no address use the same store meanwhile.

    Raises:
        KwsError: the store refuses something.
    """
    client = client_of(uri)
    import mlflow

    before = os.environ.get(mlflow.environment_variables.MLFLOW_TRACKING_URI.name)
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield client
    except mlflow.MlflowException as error:
        raise KwsError(f"the MLflow store {uri} refused: {summarize_error(error)}") from error
    finally:
        mlflow.set_tracking_uri(before)


def find_version(client: "MlflowClient", address: str) -> "ModelVersion":
    """The version that an address means.

    Raises:
        KwsError: it is no such address, or nothing has it; the models that exist are named.
    """
    from mlflow.exceptions import MlflowException

    match = ADDRESS.fullmatch(address)
    if match is None:
        raise KwsError(
            f"expected models:/<name>@<alias> or models:/<name>/<version>, got {address}"
        )
    name, alias, version = match["name"], match["alias"], match["version"]
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
    existing = [_shown(model) for model in client.search_registered_models()]
    raise KwsError(
        f"no {address} in {masked(client.tracking_uri)}, there is {'; '.join(existing) or 'no model'}: "
        "`kws export register=true` registers one"
    )


def _shown(model: object) -> str:
    aliases = [f"@{alias} (version {version})" for alias, version in model.aliases.items()]
    return f"models:/{model.name} with {', '.join(aliases) or 'no alias'}"


def download(client: "MlflowClient", version: "ModelVersion", cache: str | Path) -> Path:
    """The file of a version below the folder `cache`, fetched unless it is there.

    Raises:
        KwsError: the version holds no such file, or not the one that was registered.
    """
    import mlflow

    # Every store counts from 1: the number alone would mix up the models of two stores.
    key = sha256(f"{version.source} {version.creation_timestamp}".encode()).hexdigest()
    folder = Path(cache) / version.name / f"{version.version}_{key[:KEY_CHARACTERS]}"
    target = folder / MODEL_FILE
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    address = f"models:/{version.name}/{version.version}"
    with TemporaryDirectory(dir=folder) as scratch:
        try:
            fetched = mlflow.artifacts.download_artifacts(
                f"{address}/{MODEL_FILE}", dst_path=scratch
            )
        except (mlflow.MlflowException, OSError) as error:
            raise KwsError(
                f"{address} in {masked(client.tracking_uri)} holds no {MODEL_FILE} that can be fetched "
                f"({summarize_error(error)}): register it again with `kws export register=true`"
            ) from error
        _check(Path(fetched), version, address)
        Path(fetched).replace(target)
    return target


def _check(path: Path, version: "ModelVersion", address: str) -> None:
    registered = version.tags.get(SHA256_TAG)
    if registered and sha256(path.read_bytes()).hexdigest() != registered:
        raise KwsError(
            f"{MODEL_FILE} of {address} is not the file that was registered (its SHA-256 differs): "
            "register it again with `kws export register=true`"
        )
