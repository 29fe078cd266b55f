"""MLflow stores with a run in them, and exports to register there."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from conftest import burst
from mlflow.tracking import MlflowClient

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.registry import (
    ACCURACY,
    EVALUATED_ON,
    LATENCY,
    PARITY,
    Export,
    Gate,
    register,
)

NAME = "spotter"
GATE = Gate(accuracy_loss=0.01, parity_difference=1e-4, latency_ms=20.0)
FIGURES = {
    ACCURACY: 0.9,
    PARITY: 1e-7,
    LATENCY: 0.5,
    "parameters": 9232,
    "multiply_adds": 2_480_000,
}


class Store(NamedTuple):
    """A store and the MLflow run in it that exports come from."""

    uri: str
    run_id: str
    folder: Path

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)


def new_store(folder: Path, empty_store: Path) -> Store:
    """A local store with one run, its artifacts beside it."""
    folder.mkdir(parents=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    return begin_run(sqlite_uri(folder / "mlflow.db"), folder, (folder / "mlartifacts").as_uri())


def begin_run(uri: str, folder: Path, artifacts: str | None = None) -> Store:
    client = MlflowClient(uri)
    experiment = client.create_experiment("kws-test", artifacts)
    run = client.create_run(experiment, run_name="the-run")
    client.log_metric(run.info.run_id, "train_loss", 1.0, step=0)
    return Store(uri, run.info.run_id, folder)


def export_of(model: Path, store: Store, clips: str = "these", **figures: float) -> Export:
    return Export(
        path=model,
        info=OnnxBackend(model).info,
        run_id=store.run_id,
        step=8,
        example=burst("yes")[None],
        figures=FIGURES | figures,
        facts={"data_fingerprint": "ab12", EVALUATED_ON: clips},
    )


def register_there(store: Store, export: Export, gate: Gate = GATE, champion=None) -> str:
    """Register an export; `champion` says the accuracy of the champion's file on its clips."""
    return register(store.uri, NAME, export, gate, champion or never, store.folder / "cache")


def never(champion: Path) -> float:
    raise AssertionError(f"{champion} was scored without need")


def example_waveform() -> np.ndarray:
    return burst("yes")
