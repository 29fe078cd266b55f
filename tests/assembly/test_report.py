"""What a report gathers from the folder of a run, and which files it may be."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import FRONTEND, SAMPLE_RATE
from omegaconf import OmegaConf
from operating_points import POINT

from speech_commands_kws.assembly import report
from speech_commands_kws.assembly.report import report_file, write_evaluation, write_training
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.scoring import ScoredClip
from speech_commands_kws.inference.model_info import ModelInfo

FACTS = {
    "data": "synthetic",
    "data_description": "synthetic speech, not recordings of people",
    "data_fingerprint": "f1n6e2",
    "git_commit": "abc123",
    "parameters": 9232,
    "parent": {"run": "of_people"},
}
DETECTION = {"threshold": 0.9, "recall": 0.875, "false_alarms_per_clip": 0.01}
INFO = ModelInfo(("yes", "no"), SAMPLE_RATE, SAMPLE_RATE, FRONTEND, FACTS, DETECTION)


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "2030-01-01_run"
    (run / "plots").mkdir(parents=True)
    for name in ("loss", "augmentations"):
        (run / "plots" / f"{name}.png").write_bytes(name.encode())
    return run


def written_as(path: object) -> Path | None:
    return report_file(OmegaConf.create({"report": path and str(path)}))


def test_a_page_is_a_file_whose_folder_is_made(tmp_path):
    assert written_as(None) is None
    assert written_as(tmp_path / "new/report.HTML") == tmp_path / "new/report.HTML"
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_no_page_is_one_clear_error(tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    for name, expected in {
        "report.pdf": "report must be a file that ends in .html, got .*report.pdf",
        "folder.html": "report must be a file that ends in .html, got .*folder.html",
        "file/report.html": "cannot write .*file .*: choose another place",
    }.items():
        with pytest.raises(KwsError, match=expected):
            written_as(tmp_path / name)


def test_an_evaluation_has_what_the_run_knows(folder, monkeypatch, tmp_path):
    logged = []
    monkeypatch.setattr(report.recording, "log_to_run", lambda *given: logged.append(given))
    (folder / "model.streaming.onnx").touch()
    tuned = ModelInfo(**vars(INFO) | {"operating_points": POINT})
    monkeypatch.setattr(report, "StreamingModel", lambda _: type("Model", (), {"info": tuned}))
    scores = {"data": "synthetic, test split", "data_fingerprint": "5c07ed"}
    scores |= {"expected_calibration_error": 0.1, "log_loss": 0.5, "classes": {}}
    tone = np.sin(np.arange(SAMPLE_RATE)).astype(np.float32)
    worst = [ScoredClip(tone, "yes/1.wav", "yes", "no", 0.1, 0.9)]
    path = tmp_path / "report.html"
    write_evaluation(path, "run/model.onnx", INFO, folder, [], scores, worst)
    page = path.read_text()
    for text in ("f1n6e2", "5c07ed", "abc123", "9,232", "of_people", "yes, no"):
        assert text in page, text
    assert page.count("<audio") == 1 and "image/png" in page
    assert 'id="training"' in page and 'id="augmentations"' in page
    assert "for 0.5 false alarms an hour" in page and "finds 87.5% of the keywords" in page
    assert logged == [(folder, [path], "evaluation")]
    write_evaluation(path, "model.onnx", INFO, None, [], scores)
    assert 'id="training"' not in path.read_text() and len(logged) == 1, "of no run"


def test_streams_have_their_own_figures_and_picture(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "StreamingModel", lambda _: type("Model", (), {"info": INFO}))
    (tmp_path / "detection.png").write_bytes(b"of the test")
    facts = {"model": f"{folder}/model.streaming.onnx", "split": "test", "input": None}
    measured = {key: value for key, value in POINT.items() if key != "wanted_per_hour"}
    facts = measured | facts | {"pictures": str(tmp_path)}
    path = tmp_path / "report.html"
    report.write_streams(path, facts)
    page = path.read_text()
    assert "<h1>2030-01-01_run/model.streaming.onnx</h1>" in page
    assert "words of synthetic, test split, in streams" in page
    assert FACTS["data_description"] in page and "when its thresholds were chosen" not in page
    assert 'id="worst"' not in page and 'id="listening"' in page
    report.write_streams(path, facts | {"input": "my/words"})
    page = path.read_text()
    assert "words of my/words, in streams" in page and FACTS["data_description"] not in page


def test_a_training_has_a_page_without_figures(folder):
    path = write_training(folder, FACTS | {"labels": ["yes", "no"]})
    assert path == folder / "plots/report.html"
    page = path.read_text()
    assert re.findall('<section id="(.*?)"', page) == ["training", "augmentations", "model"]
    assert FACTS["data_description"] in page and "kws evaluate report=FILE.html" in page
    assert FACTS["git_commit"] in page
