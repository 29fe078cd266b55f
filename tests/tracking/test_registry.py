"""What is registered, read back from a local store and from a real server; and who becomes the champion."""

import logging
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import burst
from mlflow_servers import Server
from registrations import FIGURES, NAME, Store, begin_run, export_of, new_store, register_there

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.tracking.registry import (
    ACCURACY,
    EVALUATED_ON,
    LATENCY,
    PARITY,
    Gate,
)
from speech_commands_kws.tracking.registry_fetch import find_version, mlflow_at

STRICT = Gate(accuracy_loss=0.0, parity_difference=1e-4, latency_ms=2.0)
OPEN = Gate(accuracy_loss=None, parity_difference=None, latency_ms=None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["local", pytest.param("server", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path, monkeypatch) -> Store:
    """Each test has its own: registered models are deleted from the server's."""
    monkeypatch.chdir(tmp_path)
    if request.param == "local":
        return new_store(tmp_path / "plots", empty_store)
    address = request.getfixturevalue("server").address
    client = mlflow.MlflowClient(address)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    experiment = client.get_experiment_by_name("kws-test")
    if experiment:
        client.rename_experiment(
            experiment.experiment_id, f"old-{experiment.experiment_id}-{tmp_path.name}"
        )
    return begin_run(address, tmp_path)


def aliases(store: Store) -> dict[str, str]:
    """Versions as text; the local store gives numbers."""
    return {
        key: str(version)
        for key, version in store.client.get_registered_model(NAME).aliases.items()
    }


# What is registered


def test_the_registered_file_is_the_exported_one_byte_for_byte(store, tiny_onnx, tmp_path) -> None:
    version = register_there(store, export_of(tiny_onnx, store))
    with mlflow_at(store.uri):
        address = f"models:/{NAME}/{version}/model.onnx"
        fetched = Path(mlflow.artifacts.download_artifacts(address, dst_path=tmp_path / "fetched"))
    assert fetched.read_bytes() == tiny_onnx.read_bytes()
    spotter = KeywordSpotter(fetched)
    assert [spotter(burst(word))[0].label for word in ("yes", "no")] == ["yes", "no"]


def test_a_version_carries_its_figures_and_facts(store, tiny_onnx) -> None:
    register_there(store, export_of(tiny_onnx, store))
    version = find_version(store.client, f"models:/{NAME}@candidate")
    assert {key: float(version.tags[key]) for key in FIGURES} == FIGURES
    assert version.tags["data_fingerprint"] == "ab12"
    assert version.run_id == store.run_id
    run = store.client.get_run(store.run_id)
    assert run.data.metrics == {"train_loss": 1.0} | FIGURES
    assert run.info.status == "RUNNING", "the run's own end is not the registry's business"


def test_the_model_lies_with_its_run_and_has_its_metrics(store, tiny_onnx, tmp_path) -> None:
    register_there(store, export_of(tiny_onnx, store))
    run = store.client.get_run(store.run_id)
    (output,) = run.outputs.model_outputs
    model = store.client.get_logged_model(output.model_id)
    assert model.experiment_id == run.info.experiment_id
    assert (model.source_run_id, str(model.status)) == (store.run_id, "READY")
    # Not those of the training's first step, which MLflow would take along.
    assert {metric.key: metric.value for metric in model.metrics} == FIGURES
    assert not (tmp_path / "mlruns").exists() and not (tmp_path / "mlflow.db").exists()


def test_signature_and_input_example_serve_mlflow_itself(store, tiny_onnx) -> None:
    register_there(store, export_of(tiny_onnx, store))
    with mlflow_at(store.uri):
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@candidate")
    (taken,) = model.metadata.signature.inputs
    assert (taken.name, taken.shape, taken.type) == ("waveform", (-1, 16_000), np.dtype("float32"))
    given = [(spec.name, spec.shape) for spec in model.metadata.signature.outputs]
    assert given == [("probabilities", (-1, 4)), ("logits", (-1, 4))]
    answer = model.predict(model.input_example)
    assert KeywordSpotter(tiny_onnx).labels[np.argmax(answer["probabilities"])] == "yes"
    np.testing.assert_allclose(np.asarray(model.input_example["waveform"])[0], burst("yes"))


# Who becomes the champion


def test_the_first_one_is_candidate_and_champion(store, tiny_onnx, caplog) -> None:
    caplog.set_level(logging.INFO)
    register_there(store, export_of(tiny_onnx, store))
    assert aliases(store) == {"candidate": "1", "champion": "1"}
    assert f"models:/{NAME}@champion" in caplog.text


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({ACCURACY: 0.88}, "it has an accuracy of 88.00%, the champion 90.00%"),
        ({ACCURACY: float("nan")}, "it has an accuracy of nan%"),
        ({PARITY: 1e-3}, "it differs from torch by 1.0e-03, 1.0e-04 are allowed"),
        ({LATENCY: 21.0}, "it takes 21.00 ms a clip, 20.00 are allowed"),
    ],
)
def test_who_does_not_pass_stays_candidate_and_one_line_says_why(
    store, tiny_onnx, caplog, figures, reason
) -> None:
    register_there(store, export_of(tiny_onnx, store))
    register_there(store, export_of(tiny_onnx, store, **figures))
    assert aliases(store) == {"candidate": "2", "champion": "1"}
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    (record,) = [each for each in warnings if each.name.startswith("speech_commands_kws")]
    message = record.getMessage()
    assert message.startswith("not the champion (version 1 stays): ") and reason in message


def test_without_a_champion_the_bounds_count_all_the_same(store, tiny_onnx, caplog) -> None:
    register_there(store, export_of(tiny_onnx, store, **{LATENCY: 21.0}))
    assert aliases(store) == {"candidate": "1"}
    assert "(there is none yet): it takes 21.00 ms" in caplog.text


def test_an_equal_or_allowed_accuracy_passes(store, tiny_onnx) -> None:
    register_there(store, export_of(tiny_onnx, store))
    register_there(store, export_of(tiny_onnx, store))
    assert aliases(store)["champion"] == "2"
    register_there(store, export_of(tiny_onnx, store, **{ACCURACY: 0.895}))
    assert aliases(store)["champion"] == "3"


@pytest.mark.parametrize(("on_these", "champion"), [(0.7, "2"), (0.99, "1")])
def test_a_champion_measured_on_other_clips_is_scored_on_these(
    store, tiny_onnx, on_these, champion
) -> None:
    register_there(store, export_of(tiny_onnx, store, clips="others", **{ACCURACY: 0.95}))
    scored = []

    def score(path: Path) -> float:
        scored.append(path.read_bytes())
        return on_these

    register_there(store, export_of(tiny_onnx, store, **{ACCURACY: 0.8}), champion=score)
    assert scored == [tiny_onnx.read_bytes()]
    assert aliases(store)["champion"] == champion


def test_a_champion_that_cannot_be_compared_stays(store, tiny_onnx, caplog) -> None:
    register_there(store, export_of(tiny_onnx, store, clips="others"))

    def refuse(_: Path) -> float:
        raise KwsError("it knows other words: up, down")

    register_there(store, export_of(tiny_onnx, store), champion=refuse)
    assert aliases(store)["champion"] == "1"
    assert "cannot be compared with the champion on the same clips (it knows other" in caplog.text


def test_a_figure_without_a_bound_passes(store, tiny_onnx) -> None:
    register_there(store, export_of(tiny_onnx, store))
    worse = export_of(tiny_onnx, store, **{ACCURACY: 0.1, LATENCY: 1e3, PARITY: 1.0})
    register_there(store, worse, OPEN)
    assert aliases(store)["champion"] == "2"


def test_a_store_that_refuses_is_one_clear_line(store, tiny_onnx) -> None:
    export = export_of(tiny_onnx, Store(store.uri, "0" * 32, store.folder))
    with pytest.raises(KwsError, match=f"the MLflow store {store.uri} refused: .*not found") as why:
        register_there(store, export)
    assert "\n" not in str(why.value)


def test_clips_that_were_scored_are_remembered(store, tiny_onnx) -> None:
    register_there(store, export_of(tiny_onnx, store, clips="those"))
    assert find_version(store.client, f"models:/{NAME}/1").tags[EVALUATED_ON] == "those"


@pytest.mark.parametrize(
    ("figures", "champion_accuracy", "count"),
    [
        ({ACCURACY: 0.5, PARITY: 1e-4, LATENCY: 2.0}, None, 0),
        ({ACCURACY: 0.5, PARITY: 1e-4, LATENCY: 2.0}, 0.5, 0),
        ({ACCURACY: 0.5, PARITY: 1e-4, LATENCY: 2.0}, 0.51, 1),
        ({ACCURACY: 0.5, PARITY: 2e-4, LATENCY: 2.1}, 0.51, 3),
        ({ACCURACY: 0.5, PARITY: float("nan"), LATENCY: float("nan")}, 0.4, 2),
    ],
)
def test_the_gate_objects_to_each_figure_by_itself(figures, champion_accuracy, count) -> None:
    assert len(STRICT.objections(figures, champion_accuracy)) == count
    assert OPEN.objections(figures, champion_accuracy) == []
