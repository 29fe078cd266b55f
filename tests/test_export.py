"""`kws export`: registered models from a training to an answer, and what is said where that cannot be."""

import json
import logging
import re
import subprocess
from pathlib import Path

import pytest
from conftest import module_command
from hydra import compose, initialize_config_dir
from mlflow.tracking import MlflowClient
from mlflow_servers import Server, free_address
from omegaconf import OmegaConf

from speech_commands_kws import evaluate, export, train
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.tracking.mlflow_run import read_record
from speech_commands_kws.tracking.mlflow_store import sqlite_uri
from speech_commands_kws.tracking.registry import ACCURACY, EVALUATED_ON, LATENCY
from speech_commands_kws.tracking.registry_fetch import find_version

NAME = "tones"
CHAMPION = f"models:/{NAME}@champion"
# Of two epochs nothing is expected.
LENIENT = [
    *(f"quantize.gate.{name}=0" for name in ("agreement", "probe_agreement")),
    *("quantize.gate.accuracy_loss=1", "quantize.calibration_clips=16"),
]


def run(command, *overrides: str) -> float:
    with initialize_config_dir(CONFIG_DIR):
        name = command.__name__.rpartition(".")[2]
        return command.run(compose(name, list(overrides)))


def exported(root: Path, *overrides: str) -> float:
    given = [f"paths.root={root}", f"registration.name={NAME}", "card.worst=1"]
    return run(export, *given, *overrides)


# Nothing is written, and one line says what to do


@pytest.fixture
def unrecorded_run(tmp_path: Path) -> Path:
    folder = tmp_path / "plots/runs/2030-01-01_00-00-00_x"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/best.ckpt").touch()
    OmegaConf.save({}, folder / "config.yaml")
    return folder


def test_a_model_that_nothing_would_be_done_with_is_refused(unrecorded_run, tmp_path) -> None:
    with pytest.raises(KwsError, match="model=some.onnx is neither an address .* choose what is"):
        exported(tmp_path, "model=some.onnx")
    assert not (unrecorded_run / "model.onnx").exists()


def test_a_run_without_a_record_cannot_be_registered(unrecorded_run, tmp_path) -> None:
    with pytest.raises(KwsError, match="has no mlflow.json of its own: train with logger=mlflow"):
        exported(tmp_path, "register=true")
    assert not (unrecorded_run / "model.onnx").exists()


@pytest.mark.parametrize("store", ["server", "sqlite"])
def test_a_store_that_does_not_answer_is_known_first(unrecorded_run, tmp_path, store) -> None:
    uri = free_address() if store == "server" else sqlite_uri(tmp_path / "gone.db")
    record = {"tracking_uri": uri, "run_id": "0" * 32}
    (unrecorded_run / "mlflow.json").write_text(json.dumps(record))
    with pytest.raises(KwsError, match=f"MLflow store at {uri}, it does not answer"):
        exported(tmp_path, "register=true")
    assert not (unrecorded_run / "model.onnx").exists() and not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize("name", ["model.tflite", "model", "folder.onnx"])
def test_an_output_that_is_no_onnx_file_is_refused_first(unrecorded_run, tmp_path, name) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(KwsError, match=f"output must be a file that ends in .onnx, got .*{name}"):
        exported(tmp_path, f"output={tmp_path / name}")


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(KwsError, match="expected a checkpoint at .*nowhere.ckpt, found none"):
        exported(tmp_path, "checkpoint=nowhere.ckpt")


@pytest.mark.parametrize("more", [[], ["output=x.onnx", "register=true"]])
def test_a_registered_model_is_copied_to_a_named_file_only(more, tmp_path) -> None:
    with pytest.raises(KwsError, match="give output=FILE"):
        exported(tmp_path, f"model={CHAMPION}", *more)


# From a training to an answer


def trained(tree: Path, root: Path, address: str, *more: str) -> Path:
    """The folder of a short training on tones."""
    settings = [
        *("data=folder", f"data.root={tree}", "data.words=[yes,no]"),
        *("data.validation_speakers=[anna]", "data.test_speakers=[bert]"),
        *(f"paths.root={root}", f"paths.data={root}/data", f"logger.tracking_uri={address}"),
        "logger.run_folder=given",
        *("loader.batch_size=6", "trainer.max_epochs=2", "~callbacks.progress"),
        *("+trainer.enable_progress_bar=false", "name=tones", *more),
    ]
    run(train, *settings)
    return max((root / "plots/runs").iterdir(), key=lambda folder: folder.stat().st_mtime)


@pytest.mark.integration
@pytest.mark.parametrize("where", ["local", "server"])
def test_a_run_is_registered_and_answers_by_name(where, tree, tmp_path, caplog, environment):
    server = Server(tmp_path / "server")
    (tmp_path / "server").mkdir()
    if where == "server":
        server.start()
    try:
        follow_one_run(server.address, tree, tmp_path / "here", environment)
    finally:
        server.kill()
    if where == "local":
        register_again(tmp_path / "here", caplog)


def follow_one_run(address: str, tree: Path, root: Path, environment: dict[str, str]) -> None:
    folder = trained(tree, root, address)
    assert exported(root, "register=true", "quantize=int8", *LENIENT) < 1e-4
    record = read_record(folder)
    client = MlflowClient(record.tracking_uri)
    champion = find_version(client, CHAMPION)
    # The figures are those that the other commands find.
    registry = f"registry.tracking_uri={address}"
    asked = [f"paths.root={root}", registry]
    own = run(evaluate, *asked, f"model={folder}/model.onnx")
    assert float(champion.tags[ACCURACY]) == own
    info = OnnxBackend(folder / "model.onnx").info
    training = info.training
    assert training["operators"]["Conv"] > 0
    assert training["accuracy"] == own and training["precision"] == "fp32"
    assert 0 < info.detection["threshold"] < 1
    variant = OnnxBackend(folder / "model.int8.onnx").info.training
    assert variant["precision"] == "int8"
    card = (folder / "model.md").read_text()
    assert f"{own:.2%} of" in card and "model.int8.onnx" in card
    for picture in re.findall(r"\]\((.*?)\)", card):
        assert (folder / picture).is_file()
    assert champion.tags["data_fingerprint"] == training["data_fingerprint"]
    assert int(champion.tags["multiply_adds"]) == training["multiply_adds"]
    metrics = client.get_run(record.run_id).data.metrics
    assert metrics[LATENCY] == float(champion.tags[LATENCY]) > 0
    assert metrics["best_validation_accuracy"] == pytest.approx(own, abs=1e-6)

    copied = root / "out" / "copy.onnx"
    size = exported(root, f"model={CHAMPION}", f"output={copied}", registry)
    assert copied.read_bytes() == (folder / "model.onnx").read_bytes() and size > 0
    by_name, by_file = (
        run(evaluate, *asked, f"model={model}", f"input={tree}") for model in (CHAMPION, copied)
    )
    assert by_name == by_file
    answer = subprocess.run(
        module_command(*asked, f"model={CHAMPION}", f"input={tree}/yes", "format=json"),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(answer.stdout)) == 16


def register_again(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A champion that was measured on other clips is scored on these, where it is as good as the same file."""
    client = MlflowClient(sqlite_uri(root / "plots/mlflow.db"))
    champion = find_version(client, CHAMPION)
    own = float(champion.tags[ACCURACY])
    client.set_model_version_tag(NAME, champion.version, ACCURACY, "0.0")
    client.set_model_version_tag(NAME, champion.version, EVALUATED_ON, "others")
    caplog.set_level(logging.INFO)
    exported(root, "register=true")
    assert f"on the validation clips of this run its accuracy is {own:.4f}" in caplog.text
    assert find_version(client, CHAMPION).version != champion.version
    exported(root, "register=true", "registration.gate.latency_ms=1e-9")
    assert "not the champion (version 2 stays): it takes" in caplog.text
    assert str(find_version(client, f"models:/{NAME}@candidate").version) == "3"
