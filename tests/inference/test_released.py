"""The models that came with the package, and what is said where none did."""

import json
from pathlib import Path

import pytest

from speech_commands_kws import KeywordListener, KeywordSpotter
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference import released
from speech_commands_kws.inference.locate import locate_model


@pytest.fixture
def weights(tmp_path, tiny_onnx, monkeypatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(tiny_onnx.read_bytes())
    facts = {"not_for_use": None, "models": {"model.onnx": {}}}
    (folder / released.PROVENANCE).write_text(json.dumps(facts))
    monkeypatch.setattr(released, "WEIGHTS", folder)
    return folder


def test_without_a_name_a_spotter_is_the_one_that_came_along(weights, burst_wav):
    assert KeywordSpotter()(burst_wav("clip.wav", "yes"))[0].label == "yes"
    with pytest.raises(KwsError, match="no model.streaming.onnx came with this installation"):
        KeywordListener()


def test_where_none_came_along_it_is_said_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "WEIGHTS", tmp_path)
    assert released.provenance() == {} and not released.has_released("model.onnx")
    with pytest.raises(KwsError, match="no model.onnx came with .*make quickstart.*make release"):
        KeywordSpotter()


def test_a_model_that_is_not_for_use_is_warned_of(weights):
    path = weights / released.PROVENANCE
    path.write_text(path.read_text().replace("null", '"a test"'))
    with pytest.warns(UserWarning, match="not for use: a test") as caught:
        KeywordSpotter()
    assert caught[0].filename == __file__, "of the line that asked"
    path.write_text("{")
    with pytest.raises(KwsError, match="provenance.json is damaged: install speech-commands-kws"):
        KeywordSpotter()


def test_an_export_and_a_name_come_before_it(weights, tmp_path, tiny_onnx):
    runs = tmp_path / "runs"
    assert locate_model(None, runs, released=True) == weights / "model.onnx"
    with pytest.raises(KwsError, match="no exported model.onnx"):
        locate_model(None, runs)
    assert locate_model(str(tiny_onnx), runs, released=True) == tiny_onnx
    export = runs / "one" / "model.onnx"
    export.parent.mkdir(parents=True)
    export.touch()
    assert locate_model(None, runs, released=True) == export
