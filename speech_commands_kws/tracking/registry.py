"""Registers an exported model in MLflow: a version with its figures, and the aliases `candidate` and `champion`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES, ModelInfo
from speech_commands_kws.tracking.registry_fetch import SHA256_TAG, download, mlflow_at

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

LOG = logging.getLogger(__name__)
CANDIDATE, CHAMPION = "candidate", "champion"
# Figures of the exported file: metrics of the run and of the model, and tags of its version. Not the names of the
# training's metrics, whose curves they would disturb.
ACCURACY = "onnx_validation_accuracy"
PARITY = "onnx_parity_difference"
LATENCY = "onnx_latency_ms"
SIZE = "onnx_bytes"
# Which clips the accuracy was measured on.
EVALUATED_ON = "validation_fingerprint"
REQUIREMENTS = ("onnxruntime", "numpy")  # to load the model with MLflow itself
PROVIDERS = ("CPUExecutionProvider",)


@dataclass(frozen=True)
class Gate:
    """What an export must hold to become the champion; None lets a figure pass.

    Attributes:
        accuracy_loss: most that its validation accuracy may lie below the champion's, both measured on the same clips.
        parity_difference: largest difference from the trained module.
        latency_ms: longest time for one clip, one thread.
    """

    accuracy_loss: float | None
    parity_difference: float | None
    latency_ms: float | None

    def objections(
        self, figures: Mapping[str, float], champion_accuracy: float | None
    ) -> list[str]:
        """Why an export with these figures does not pass; no champion's accuracy, no comparison."""
        bounds = {
            PARITY: (self.parity_difference, "differs from torch by {:.1e}, {:.1e} are allowed"),
            LATENCY: (self.latency_ms, "takes {:.2f} ms a clip, {:.2f} are allowed"),
        }
        found = [
            text.format(figures[name], bound)
            for name, (bound, text) in bounds.items()
            # Not >: no number must not pass either.
            if bound is not None and not figures[name] <= bound
        ]
        if champion_accuracy is not None and self.accuracy_loss is not None:
            if not figures[ACCURACY] >= champion_accuracy - self.accuracy_loss:
                text = "has an accuracy of {:.2%}, the champion {:.2%}"
                found.append(text.format(figures[ACCURACY], champion_accuracy))
        return found


@dataclass(frozen=True)
class Export:
    """An exported model and what was measured of it.

    Attributes:
        path: the file.
        info: what it says about itself.
        run_id: the MLflow run that it comes from.
        step: the training step of its checkpoint.
        example: a real clip, (1, T).
        figures: numbers by the names above.
        facts: texts, such as the fingerprints of the data.
    """

    path: Path
    info: ModelInfo
    run_id: str
    step: int
    example: np.ndarray
    figures: Mapping[str, float]
    facts: Mapping[str, str]


def register(
    uri: str,
    name: str,
    export: Export,
    gate: Gate,
    score_champion: Callable[[Path], float],
    cache: str | Path,
) -> str:
    """Register an export under `name` in the store that holds its run; returns the number of the version.

    It gets the alias `candidate`, and `champion` where it passes the gate; a line in the log says why it does not.

    Args:
        score_champion: accuracy of the present champion, a file, on the clips that the export was scored on; asked only
            where the champion's own record is about other clips. Raises KwsError where the two cannot be compared.
        cache: folder for the champion's file.

    Raises:
        KwsError: the store refuses, or keeps another file than the one exported.
    """
    with mlflow_at(uri) as client:
        version = _log_version(client, name, export)
        client.set_registered_model_alias(name, CANDIDATE, version)
        number = client.get_registered_model(name).aliases.get(CHAMPION)
        champion = client.get_model_version(name, number) if number else None
        objections = gate.objections(export.figures, None)
        if champion and not objections and gate.accuracy_loss is not None:
            objections = _comparison(client, export, gate, champion, score_champion, cache)
        if not objections:
            client.set_registered_model_alias(name, CHAMPION, version)
    LOG.info("registered: models:/%s/%s in %s", name, version, uri)
    if objections:
        keeps = f"version {champion.version} stays" if champion else "there is none yet"
        LOG.warning("not the champion (%s): it %s", keeps, "; it ".join(objections))
    else:
        LOG.info("it is the champion: models:/%s@%s", name, CHAMPION)
    return version


def _comparison(
    client: "MlflowClient",
    export: Export,
    gate: Gate,
    champion: "ModelVersion",
    score_champion: Callable[[Path], float],
    cache: str | Path,
) -> list[str]:
    """Why an export does not take the champion's place. Accuracies on other clips say nothing: it is scored again."""
    if champion.tags.get(EVALUATED_ON) == export.facts[EVALUATED_ON]:
        return gate.objections(export.figures, float(champion.tags[ACCURACY]))
    LOG.info("the champion, version %s, was measured on other clips", champion.version)
    try:
        accuracy = score_champion(download(client, champion, cache))
    except KwsError as error:
        return [f"cannot be compared with the champion on the same clips ({error})"]
    LOG.info("on the validation clips of this run its accuracy is %.4f", accuracy)
    return gate.objections(export.figures, accuracy)


def _log_version(client: "MlflowClient", name: str, export: Export) -> str:
    import mlflow.onnx
    import onnx
    from mlflow.models import infer_signature

    content, example = export.path.read_bytes(), {INPUT: export.example}
    facts = {**export.facts, SHA256_TAG: sha256(content).hexdigest()}
    tags = {key: str(value) for key, value in {**facts, **export.figures}.items()}
    # Made here and not by log_model, which would put it into whatever experiment is active.
    model = client.create_logged_model(
        experiment_id=client.get_run(export.run_id).info.experiment_id,
        name=name,
        source_run_id=export.run_id,
        tags=tags,
    )
    mlflow.log_metrics(
        dict(export.figures), export.step, run_id=export.run_id, model_id=model.model_id
    )
    scores = np.zeros((1, len(export.info.labels)), np.float32)
    logged = mlflow.onnx.log_model(
        onnx.load_from_string(content),
        name=name,
        model_id=model.model_id,
        run_id=export.run_id,
        step=export.step,
        registered_model_name=name,
        signature=infer_signature(example, {PROBABILITIES: scores, LOGITS: scores}),
        input_example=example,
        tags=tags,
        pip_requirements=list(REQUIREMENTS),
        onnx_execution_providers=list(PROVIDERS),
        save_as_external_data=False,
    )
    return str(logged.registered_model_version)
