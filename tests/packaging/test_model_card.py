from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from operating_points import POINT

from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.packaging.model_card import (
    model_card,
    streaming_card,
    streaming_note,
    table,
)

SCORES = {
    "clips": 1234,
    "accuracy": 0.951,
    "accuracy_interval_95": [0.94, 0.96],
    "expected_calibration_error": 0.0123,
    "classes": {
        "yes": {"recall": 0.9, "precision": 0.8, "support": 20},
        "n|o": {"recall": None, "precision": None, "support": 0},
    },
}


def test_the_card_tells_what_was_measured(tiny_onnx: Path) -> None:
    training = {"run": "2030_x", "data": "tones", "data_fingerprint": "abc", "multiply_adds": 12345}
    training["data_made_by"] = "a fan (its licence)"
    training["auxiliary_data"] = "25 words of talk"
    training |= {"operators": {"Mul": 2, "Softmax": 1}, "data_description": "hums of a fan"}
    training["parent"] = {"run": "2029_y", "data": "hums", "kept_classes": ["yes"]}
    point = {"threshold": 0.9, "recall": 0.85, "false_alarms_per_clip": 0.01}
    info = ModelInfo(("yes", "n|o"), 16_000, 8_000, {}, training, point)
    rounded = ModelInfo(
        info.labels,
        16_000,
        8_000,
        {},
        {"accuracy": 0.949, "variant": {"agreement": 0.991, "latency_ms": 1.234}},
    )
    card = model_card(
        tiny_onnx,
        info,
        SCORES,
        {"time": "0.5 ms"},
        [(tiny_onnx, rounded)],
        [tiny_onnx.parent / "model" / "confusion.png"],
    )
    for text in (
        "# 2030_x\n",
        "| begun with the weights of | 2029_y |\n| their data | hums |\n",
        "float32 (batch, 8000) within ±1 at 16000 Hz",
        "in 0.5 s of sound",
        "above a probability of 0.900",
        "finds 85.0% of the keywords and takes 1.0% of the other clips",
        "95.10% of 1,234 validation clips (95 % interval 94.00% to 96.00%)",
        "tells about others. The clips are hums of a fan.\n",
        "| yes | 90.0% | 80.0% | 20 |",
        "| n\\|o | – | – | 0 |",
        "| multiply-adds of the network | 12,345 |",
        "| operators | Mul 2, Softmax 1 |",
        f"| SHA-256 | `{sha256(tiny_onnx.read_bytes()).hexdigest()}` |",
        "| time | 0.5 ms |",
        "| data made by | a fan (its licence) |",
        "| other words learnt beside them | 25 words of talk |",
        "| fingerprint of the data | abc |",
        "| 94.90% | 99.10% | 1.23 ms |",
        "![confusion](model/confusion.png)",
    ):
        assert text in card, text


def streaming_info(**changed: object) -> ModelInfo:
    info = ModelInfo(("_unknown_", "yes"), 16_000, 16_000, {}, {"run": "2030_x"})
    streaming = {"hop_samples": 160, "state_shape": [356, 16]}
    return replace(info, streaming=streaming, detector={"thresholds": {"yes": 0.97}}, **changed)


def test_the_card_of_a_streaming_model_tells_its_operating_points() -> None:
    card = streaming_card(Path("model.streaming.onnx"), streaming_info(operating_points=POINT))
    for text in (
        "# 2030_x, for streams\n",
        "float32 (batch, 160 n) within ±1 at 16000 Hz, and `state`, (batch, 356, 16)",
        "Chosen for 0.5 false alarms an hour on the validation split",
        "| clean | 40 | 15.0% | 7.1% to 29.1% | 2 |",
        "| yes | 40 | 15.0% | 7.1% to 29.1% | 2 | 0.97 |",
        "| music | 6.00 | 3 | 0.50 | 1.29 | 8 |",
        "| other words | 1.00 | 3 |",
        "| all sound | 7.00 | 6 |",
        "decided 151 ms after the end of a word",
        "| 0.9 | 10.0% | 2.50 | 3.50 |",
    ):
        assert text in card, text
    untuned = streaming_card(Path("model.streaming.onnx"), streaming_info())
    assert "not been chosen yet: run `kws tune`" in untuned and "an hour" not in untuned


def test_the_card_names_the_streaming_file_beside_it(tmp_path) -> None:
    assert streaming_note(tmp_path / "model.streaming.onnx") == []
    (tmp_path / "model.streaming.onnx").touch()
    (note,) = streaming_note(tmp_path / "model.streaming.onnx")
    assert note.startswith("`model.streaming.onnx`") and "(model.streaming.md)" in note


def test_labels_and_names_are_no_html(tiny_onnx: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    info = ModelInfo((hostile, "a\n# b"), 16_000, 16_000, {}, {"run": hostile, "data": hostile})
    scores = SCORES | {"classes": {hostile: SCORES["classes"]["yes"]}}
    card = model_card(tiny_onnx, info, scores, {}, [], [])
    assert "<" not in card and "&lt;img src=x" in card
    assert "one of 2 classes: &lt;img src=x onerror=alert(1)&gt;, a\\n# b." in card


def test_what_is_not_known_is_left_out(tiny_onnx: Path) -> None:
    info = ModelInfo(("yes",), 16_000, 16_000, {}, {})
    card = model_card(tiny_onnx, info, SCORES, {}, [], [])
    for text in ("probability of", "## Variants", "## Pictures", "multiply-adds"):
        assert text not in card


def test_the_rates_of_the_threshold_come_with_the_clips_they_rest_on(tiny_onnx: Path) -> None:
    point = {"threshold": 0.9, "recall": 0.85, "false_alarms_per_clip": 0.0}
    counts = {"keyword_clips": 200, "other_clips": 108}
    info = ModelInfo(("yes",), 16_000, 16_000, {}, {}, point | counts)
    card = model_card(tiny_onnx, info, SCORES, {}, [], [])
    assert "85.0% of 200 keywords (95 % interval 79.4% to 89.3%)" in card
    assert "0.0% of 108 other clips (95 % interval 0.0% to 3.4%)" in card


def test_a_bar_does_not_end_a_cell() -> None:
    assert table(["a"], [["b|c"]]) == "| a |\n| --- |\n| b\\|c |"
