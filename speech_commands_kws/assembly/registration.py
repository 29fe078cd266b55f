"""Registers an export with what choosing a model needs: its accuracy, on which clips, and the champion's on these."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from speech_commands_kws.assembly.release import Release
from speech_commands_kws.assembly.run_data import clips_fingerprint, recorded_split, score
from speech_commands_kws.cli.launch import build
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.tracking import registry
from speech_commands_kws.tracking.mlflow_run import RECORD_NAME, MlflowRun, read_record
from speech_commands_kws.tracking.mlflow_store import store_fault
from speech_commands_kws.tracking.recording import PROBE_SECONDS
from speech_commands_kws.training.objectives import COUNTS

FACTS = ("run", "data", "data_fingerprint", "git_commit")


def required_record(folder: Path) -> MlflowRun:
    """The MLflow run to register an export of this run with; asked before anything is written.

    Raises:
        KwsError: the run has none, or its store does not answer.
    """
    record = read_record(folder)
    if record is None:
        raise KwsError(
            f"expected a run that MLflow knows, {folder} has no {RECORD_NAME} of its own: "
            "train with logger=mlflow, export the original of a copy, or export without register=true"
        )
    fault = store_fault(record.tracking_uri, PROBE_SECONDS)
    if fault:
        raise KwsError(
            f"expected the run's MLflow store at {record.tracking_uri}, it does not answer ({fault}): "
            "start it, or export without register=true"
        )
    return record


def register(
    cfg: DictConfig,
    record: MlflowRun,
    checkpoint: Path,
    model: Release,
    split: SplitClips,
    saved: DictConfig,
) -> str:
    """Register an export, which was scored on its validation split; returns the number of the version.

    Args:
        cfg: of the command `export`.
        record: the MLflow run that it comes from.
        saved: the configuration of the run.
    """
    training = model.info.training
    facts = {key: str(training[key]) for key in (*FACTS, *COUNTS)}
    facts[registry.EVALUATED_ON] = clips_fingerprint(split, model.info.labels)
    export = registry.Export(
        path=model.path,
        info=model.info,
        run_id=record.run_id,
        step=read_checkpoint(checkpoint)["global_step"],
        example=model.clips[:1],
        figures=model.figures | {registry.ACCURACY: training["accuracy"]},
        facts=facts,
    )

    def champion_accuracy(champion: Path) -> float:
        backend = OnnxBackend(champion)
        check_words(backend.info.labels, export.info.labels)
        return score(backend, recorded_split(saved, backend.info), cfg.batch_size).accuracy

    return registry.register(
        record.tracking_uri,
        cfg.registration.name,
        export,
        build(cfg.registration.gate),
        champion_accuracy,
        cfg.registry.cache,
    )


def check_words(labels: Sequence[str], expected: Sequence[str]) -> None:
    """Raises KwsError where a champion knows other words, whatever their order."""
    if set(labels) != set(expected):
        raise KwsError(f"it knows other words: {', '.join(labels)}")
