"""Scoring splits and folders, checkpoints and exports, and what is said where that fails."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
import soundfile
import torch
from conftest import FRONTEND, REPOSITORY, SAMPLE_RATE, TINY_LABELS, TINY_METADATA, burst
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluate import run
from speech_commands_kws.evaluation import scoring
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import write_onnx

METADATA = TINY_METADATA | {"frontend": json.dumps(FRONTEND)}
OPSET = 18
RIGHT = {"confusion.png", "classes.png", "calibration.png"}  # where every clip is
PICTURES = RIGHT | {"worst_clips.png"}
HELD_OUT = ["data.validation_speakers=[anna]", "data.test_speakers=[bert]"]


def write(path, keyword):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, burst(keyword), SAMPLE_RATE)


@pytest.fixture
def tree(tmp_path):
    """Two takes of three words by each of three speakers; one "yes" of anna's is a "no"."""
    root = tmp_path / "recordings"
    for speaker in ("anna", "bert", "carl"):
        for word, sound in (("yes", "yes"), ("no", "no"), ("bird", "_unknown_")):
            for take in range(2):
                write(root / word / f"{speaker}_nohash_{take}.wav", sound)
    write(root / "yes/anna_nohash_1.wav", "no")
    return root


@pytest.fixture
def model(tmp_path, make_tiny_onnx):
    return make_tiny_onnx(tmp_path / "tiny.onnx", METADATA)


@pytest.fixture
def evaluate(tmp_path):
    """Runs the command as `kws evaluate` would in an empty folder."""

    def call(*overrides):
        given = [f"paths.root={tmp_path}/here", "worst=1", "robustness=none", *overrides]
        with initialize_config_dir(CONFIG_DIR):
            return run(compose("evaluate", given))

    return call


@pytest.fixture
def trained_run(tmp_path, tree, make_tiny_onnx):
    """A run's folder with its configuration and an export."""
    folder = tmp_path / "here/plots/runs/2030-01-01_00-00-00_tiny"
    folder.mkdir(parents=True)
    make_tiny_onnx(folder / "model.onnx", METADATA)
    overrides = [f"paths.root={tmp_path}/here", "data=folder", f"data.root={tree}", *HELD_OUT]
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("evaluate", overrides)
    saved = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("data", "loader")}
    OmegaConf.save(OmegaConf.create(saved), folder / "config.yaml")
    return folder


def test_a_folder_is_scored_by_an_exported_model(evaluate, tree, model, tmp_path, capsys):
    accuracy = evaluate(
        f"model={model}", f"input={tree}", "worst=2", f"json_file={tmp_path}/a/b.json"
    )
    assert accuracy == 17 / 18
    output = capsys.readouterr().out
    assert f"{tree}: 18 clips, accuracy 94.4%" in output and "\ntiny.onnx\n" in output
    folder = tmp_path / "here/plots/evaluation_recordings"
    assert {path.name for path in folder.iterdir()} == PICTURES
    assert f"pictures: {folder}" in output
    facts = json.loads((tmp_path / "a/b.json").read_text())
    assert facts["accuracy"] == accuracy and facts["split"] is None
    assert facts["model_sha256"] == sha256(model.read_bytes()).hexdigest()
    assert facts["classes"]["yes"] == {
        "precision": 1.0,
        "recall": pytest.approx(5 / 6),
        "f1": pytest.approx(10 / 11),
        "support": 6,
    }
    worst = facts["worst_clips"]
    assert len(worst) == 1, "only what is wrong"
    assert worst[0]["name"] == "yes/anna_nohash_1.wav"
    assert (worst[0]["truth"], worst[0]["prediction"]) == ("yes", "no")


def test_json_on_standard_output_is_nothing_but_json(evaluate, tree, model, capsys, caplog):
    (tree / "no/broken.wav").write_text("no audio")
    evaluate(f"model={model}", f"input={tree}", "format=json")
    assert json.loads(capsys.readouterr().out)["clips"] == 18
    assert "broken.wav" in caplog.text and "1 of 19 files were left out" in caplog.text


def test_a_split_is_that_of_the_run_that_the_model_lies_in(evaluate, trained_run, capsys):
    # Of anna: 3 of 4 keywords right, and one class's share, two clips, of `_unknown_` and silence.
    assert evaluate(f"model={trained_run}/model.onnx") == 7 / 8
    assert "folder, validation split: 8 clips, accuracy 87.5%" in capsys.readouterr().out
    assert {path.name for path in (trained_run / "evaluation_validation").iterdir()} == PICTURES
    assert evaluate(f"model={trained_run}/model.onnx", "split=test") == 1.0
    elsewhere = trained_run.parent / "pictures"
    evaluate(f"model={trained_run}/model.onnx", "split=test", f"folder={elsewhere}")
    assert {path.name for path in elsewhere.iterdir()} == RIGHT


def test_accuracy_in_noise_is_an_output_of_both_forms(evaluate, model, tree, tmp_path, capsys):
    """The noise beside the words of a folder is bursts, which the model takes for words."""
    hum = np.tile(burst("no"), 10)
    (tree / "_background_noise_").mkdir()
    soundfile.write(tree / "_background_noise_/hum.wav", hum, SAMPLE_RATE)
    few = ["robustness=standard", "robustness.clips=6", "robustness.rt60_seconds=[0.3]"]
    given = [f"model={model}", f"input={tree}", *few, "robustness.snr_db=[20,-20]"]
    evaluate(*given)
    output = capsys.readouterr().out
    assert "accuracy in noise" in output and "-20 dB" in output and "hum*" in output
    folder = tmp_path / "here/plots/evaluation_recordings"
    assert {path.name for path in folder.iterdir()} == PICTURES | {"robustness.png"}
    evaluate(*given, "format=json")
    facts = json.loads(capsys.readouterr().out)["robustness"]
    assert facts["clean"]["accuracy"] == 17 / 18 and facts["clips_of_each"] == 6
    near, far = (cell["accuracy"] for cell in facts["noises"]["hum"]["by_snr"])
    assert near >= 5 / 6 and far < near


def test_a_folder_is_scored_in_noise_without_torch(model, tree, tmp_path):
    program = "from speech_commands_kws.evaluate import main; main(); import sys; "
    program += "assert 'torch' not in sys.modules"
    given = [
        f"model={model}",
        f"input={tree}",
        "robustness.clips=6",
        "robustness.rt60_seconds=[0.3]",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert "babble, made here" in done.stdout


def test_a_report_has_what_was_found_and_is_named(evaluate, trained_run, tmp_path, capsys):
    page = tmp_path / "new/report.html"
    evaluate(f"model={trained_run}/model.onnx", f"report={page}", f"json_file={tmp_path}/b.json")
    assert f"report: {page}" in capsys.readouterr().out
    facts, text = json.loads((tmp_path / "b.json").read_text()), page.read_text()
    assert facts["report"] == str(page)
    assert text.count("<audio") == len(facts["worst_clips"]) == 1
    assert f"<h1>{trained_run.name}/model.onnx</h1>" in text
    assert "folder, validation split: 8 clips, accuracy 87.5%" in text
    assert "recordings from a folder" in text and "Confusion matrix" in text
    assert facts["data_fingerprint"] in text and "yes/anna_nohash_1.wav" in text


def test_a_report_that_cannot_be_written_is_met_before_the_work(evaluate, model, monkeypatch):
    monkeypatch.setattr(scoring, "score", None)
    with pytest.raises(KwsError, match="report must be a file that ends in .html, got a.pdf"):
        evaluate(f"model={model}", "report=a.pdf")


def test_data_on_the_command_line_goes_before_that_of_the_run(evaluate, trained_run, tree, capsys):
    data = ["data=folder", f"data.root={tree}", "data.name=mine"]
    swapped = ["data.validation_speakers=[bert]", "data.test_speakers=[anna]"]
    assert evaluate(f"model={trained_run}/model.onnx", *data, *swapped) == 1.0
    assert "mine, validation split" in capsys.readouterr().out
    assert (trained_run / "evaluation_mine_validation").is_dir()


def test_a_model_outside_any_run_is_scored_on_the_data_named(evaluate, model, tree):
    data = ["data=folder", f"data.root={tree}", *HELD_OUT]
    assert evaluate(f"model={model}", "split=validation", *data) == 7 / 8


def test_an_input_in_other_words_is_one_clear_error(evaluate, model, tmp_path):
    write(tmp_path / "other/lights/anna_nohash_0.wav", "yes")
    with pytest.raises(KwsError, match=r"model's words \(.*yes, no\), got lights"):
        evaluate(f"model={model}", f"input={tmp_path}/other")


@pytest.mark.parametrize(
    "removed, expected",
    [("no", "found none of no"), ("bird", "model's labels .* got _silence_, yes")],
)
def test_data_of_other_classes_is_one_clear_error(evaluate, model, tree, removed, expected):
    shutil.rmtree(tree / removed)
    with pytest.raises(KwsError, match=expected) as caught:
        evaluate(f"model={model}", "data=folder", f"data.root={tree}", *HELD_OUT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["bins=0"], "bins must be a whole number of 1 or more, got 0"),
        (["batch_size=1.5"], "batch_size must be a whole number of 1 or more, got 1.5"),
        (["format=xml"], "expected format to be one of table, json, got xml"),
        (["model=nowhere.onnx"], "nowhere.onnx does not exist"),
        (["run=nowhere"], "expected the folder of a run at run=nowhere"),
        ([], "expected a trained run below .*runs, found none"),
    ],
)
def test_what_cannot_be_found_is_one_clear_error(evaluate, overrides, expected):
    with pytest.raises(KwsError, match=expected):
        evaluate(*overrides)


def test_a_model_without_data_is_told_what_to_name(evaluate, model):
    with pytest.raises(KwsError, match="give input=FOLDER, or data=..."):
        evaluate(f"model={model}")


def test_a_streaming_model_is_scored_on_streams(evaluate, tree, tmp_path, make_tiny_onnx):
    streaming = METADATA | {"streaming": json.dumps({"hop_samples": 160})}
    model = make_tiny_onnx(tmp_path / "streaming.onnx", streaming)
    with pytest.raises(KwsError, match="listens to a stream: add protocol=streaming, or give the"):
        evaluate(f"model={model}", f"input={tree}")


def test_an_engine_that_scores_no_checkpoint_is_one_clear_error(evaluate, model, trained_run):
    for engine in ("triton", "triton_grpc"):
        with pytest.raises(KwsError, match="evaluate runs a file: give backend=onnx or"):
            evaluate(f"backend={engine}", f"model={model}")
    checkpoint = trained_run / "best.ckpt"
    checkpoint.touch()
    with pytest.raises(KwsError, match="is a checkpoint: backend=tensorrt needs model=FILE.plan"):
        evaluate("backend=tensorrt", f"model={checkpoint}")


def test_a_split_that_is_none_is_one_clear_error(evaluate, trained_run):
    with pytest.raises(KwsError, match="expected split to be one of train, validation, test"):
        evaluate(f"model={trained_run}/model.onnx", "split=all")


def test_two_answers_to_what_to_score_are_one_clear_error(evaluate, model, tree):
    with pytest.raises(KwsError, match="both input= and data="):
        evaluate(f"model={model}", f"input={tree}", "data=synthetic")


def test_an_unwritable_folder_is_met_before_the_scoring(
    evaluate, model, tree, tmp_path, monkeypatch
):
    monkeypatch.setattr(scoring, "score", None)
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write .*file/pictures .Not a directory"):
        evaluate(f"model={model}", f"input={tree}", f"folder={tmp_path}/file/pictures")


def test_an_unwritable_json_file_is_one_clear_error(evaluate, model, tree, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write json_file=.*file/a.json"):
        evaluate(f"model={model}", f"input={tree}", f"json_file={tmp_path}/file/a.json")


def save_checkpoint(folder):
    """A spotter with weights of chance, as training would store it."""
    torch.manual_seed(0)
    sizes = {"width": 1, "sub_bands": 5, "dropout": 0.1, "fast_training": False}
    sizes |= {"n_classes": len(TINY_LABELS), "n_mels": FRONTEND["n_mels"]}
    spotter = SpotterModule(LogMel(**FRONTEND), BCResNet(**sizes))
    facts = {
        "labels": TINY_LABELS,
        "sample_rate": SAMPLE_RATE,
        "clip_samples": SAMPLE_RATE,
        "frontend": {"name": "LogMel", **FRONTEND},
        "backbone": {"name": "BCResNet", **sizes},
    }
    weights = {f"spotter.{name}": value for name, value in spotter.state_dict().items()}
    (folder / "checkpoints").mkdir()
    torch.save({"facts": facts, "state_dict": weights}, folder / "checkpoints/best.ckpt")
    return spotter.eval()


def test_the_best_checkpoint_of_a_run_is_scored_by_its_own_probabilities(
    evaluate, trained_run, tree, capsys
):
    spotter = save_checkpoint(trained_run)
    evaluate(f"run={trained_run}", f"input={tree}", "format=json", "worst=4", "batch_size=4")
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"].endswith("checkpoints/best.ckpt")
    assert len(facts["worst_clips"]) == 4
    for clip in facts["worst_clips"]:
        waveform, _ = soundfile.read(tree / clip["name"], dtype="float32")
        with torch.no_grad():
            probabilities = spotter(torch.from_numpy(waveform)[None]).softmax(dim=1)[0]
        assert clip["prediction"] == TINY_LABELS[probabilities.argmax()]
        assert clip["prediction_probability"] == pytest.approx(probabilities.max().item(), abs=1e-5)


@pytest.mark.integration
def test_a_checkpoint_and_its_export_have_the_same_figures(evaluate, trained_run, capsys):
    spotter = save_checkpoint(trained_run)
    info = ModelInfo(tuple(TINY_LABELS), SAMPLE_RATE, SAMPLE_RATE, FRONTEND, training={})
    write_onnx(spotter, info, OPSET, trained_run / "model.onnx")
    capsys.readouterr()
    figures = []
    for model in ("checkpoints/best.ckpt", "model.onnx"):
        evaluate(f"model={trained_run}/{model}", "format=json")
        figures.append(json.loads(capsys.readouterr().out))
    torch_figures, onnx_figures = figures
    for key in ("data_fingerprint", "clips", "accuracy", "classes", "confusion"):
        assert torch_figures[key] == onnx_figures[key], key
    for key in ("log_loss", "expected_calibration_error"):
        assert torch_figures[key] == pytest.approx(onnx_figures[key], abs=1e-5), key
