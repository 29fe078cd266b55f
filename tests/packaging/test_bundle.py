"""What is told of a listener that comes with the package; the rest is in tests/assembly/test_bundle.py."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from streaming_models import STREAMING_INFO

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging.bundle import Bundled, check_gate, figures_of, write_bundle

GATE = {"accuracy": 0.9, "found": 0.75}
MISSED = {"words": 50, "miss_rate": 0.2, "interval_95": [0.1, 0.3]}
POINT = {
    "split": "validation",
    "misses_by_condition": {"clean": MISSED},
    "false_alarms_by_kind": {
        "talk": {"hours": 2.5, "per_hour": 0.4, "interval_95": [0.0, 2.2]},
        "music": {"hours": 0.0, "per_hour": None, "interval_95": None},
    },
}


def listener(evaluation: dict | None, point: dict | None = POINT) -> Bundled:
    training = STREAMING_INFO.training | {"accuracy": 0.9, "accuracy_clips": 100}
    info = replace(
        STREAMING_INFO,
        streaming={"hop_samples": 160},
        operating_points=point or {},
        training=training,
    )
    return Bundled(Path("model.streaming.onnx"), info, [], {}, evaluation)


def test_of_a_listener_misses_and_false_alarms_are_told_with_what_they_were_counted_on():
    missed, alarms, *tested = figures_of(listener(POINT | {"split": "test"}))
    assert missed.value == 0.2 and missed.measured_on.startswith(
        "50 words in streams, clean, of the val"
    )
    assert alarms.value == 0.4 and alarms.measured_on.startswith(
        "2.50 hours of talk, of the validation"
    )
    assert [figure.measured_on.endswith("the test split") for figure in tested] == [True, True]


def test_a_listener_for_others_has_chosen_thresholds_and_finds_the_words():
    check_gate(listener(POINT), **GATE)
    with pytest.raises(KwsError, match="thresholds of model.streaming.onnx have not been chosen"):
        check_gate(listener(POINT, None), **GATE)
    deaf = POINT | {"misses_by_condition": {"clean": MISSED | {"miss_rate": 0.5}}}
    with pytest.raises(KwsError, match="finds 50.0% in the test split, .* needs 75.0%"):
        check_gate(listener(deaf), **GATE)


def test_what_others_have_put_into_the_folder_stays_there(tmp_path):
    folder = tmp_path / "weights"
    write_bundle(folder, [], "a test")
    (folder / "model.onnx").write_bytes(b"of the bundle before")
    write_bundle(folder, [], "another test")
    assert [path.name for path in folder.iterdir()] == ["provenance.json"]
    assert json.loads((folder / "provenance.json").read_text())["not_for_use"] == "another test"
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(KwsError, match="has thesis.txt, which `kws bundle` did not write there"):
        write_bundle(folder, [], None)
    (folder / "provenance.json").rename(folder / "model.onnx")
    with pytest.raises(KwsError, match="has model.onnx, which"):
        write_bundle(folder, [], None)
    assert (folder / "thesis.txt").is_file() and (folder / "model.onnx").is_file()
    with pytest.raises(KwsError, match="cannot write .*thesis.txt"):
        write_bundle(folder / "thesis.txt", [], None)
