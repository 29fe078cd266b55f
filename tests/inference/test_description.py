import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.description import describe, operating_rows, write_table


def test_a_model_is_described_by_its_file_and_its_metadata(tiny_onnx: Path) -> None:
    info = OnnxBackend(tiny_onnx).info
    training = info.training | {"operators": {"Mul": 2}}
    facts = describe(tiny_onnx, replace(info, training=training))
    content = tiny_onnx.read_bytes()
    assert (facts["bytes"], facts["sha256"]) == (len(content), sha256(content).hexdigest())
    assert facts["clip_seconds"] == 1.0 and facts["training"]["accuracy"] == 0.5
    assert facts["operators"] == {"Mul": 2} and "operators" not in facts["training"]
    stream = io.StringIO()
    write_table(facts, stream)
    assert "frontend.n_mels" in stream.getvalue()
    assert "_silence_, _unknown_, yes, no" in stream.getvalue()


def test_the_table_fits_a_terminal_with_a_long_path_and_hashes(
    tiny_onnx: Path, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    facts = describe(tiny_onnx, OnnxBackend(tiny_onnx).info)
    facts["training"]["accuracy"] = 0.9398148148148148
    facts["file"] = (
        "/home/anna/speech/plots/runs/2026-11-26_22-57-35_bc_resnet_synthetic/model.onnx"
    )
    stream = io.StringIO()
    write_table(facts, stream, "The detection threshold finds little.")
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert f"{facts['sha256'][:16]}…" in stream.getvalue()
    assert "training.accuracy " in stream.getvalue() and " 0.9398\n" in stream.getvalue()
    assert any("2026-11-26_22-57-35_bc_resnet_synthetic/" in line for line in lines)
    assert lines[-1] == "The detection threshold finds little. format=json has everything in full."


def test_operating_points_are_a_few_rows(tiny_onnx: Path) -> None:
    missed = {"misses": 6, "words": 40, "miss_rate": 0.15, "interval_95": [0.071, 0.291]}
    alarms = {"alarms": 3, "hours": 6.0, "per_hour": 0.5, "limit_95": 1.292}
    point = {
        "split": "validation",
        "wanted_per_hour": 0.5,
        "misses": missed,
        "misses_by_condition": {"clean": missed, "10 dB": missed | {"miss_rate": 0.2}},
        "false_alarms": alarms,
        "false_alarms_by_kind": {"music": alarms, "talk": alarms | {"alarms": 0}},
        "latency_seconds": {"median": 0.151, "p95": 0.384},
        "curve": [{"threshold": 0.9, "miss_rate": 0.1, "per_hour": 2.5, "limit_95": 3.5}] * 20,
    }
    detector = {"thresholds": {"yes": 0.97, "no": 0.9}, "settle_ms": 80}
    info = replace(OnnxBackend(tiny_onnx).info, detector=detector, operating_points=point)
    rows = operating_rows(point)
    assert rows["missed"] == "15.0% of 40 words (95% interval 7.1% to 29.1%)"
    assert rows["missed_by_condition"] == "clean 15.0%, 10 dB 20.0%"
    assert rows["false_alarms"].startswith("0.50 an hour, below 1.29 with 95% confidence: 3 in 6")
    assert rows["false_alarms_by_kind"] == "music 3, talk 0"
    assert rows["latency"].startswith("0.15 s") and rows["latency"].endswith("0.38 s")
    without = point | {"latency_seconds": {"median": None, "p95": None}}
    assert operating_rows(without) == {name: rows[name] for name in rows if name != "latency"}
    facts = describe(tiny_onnx, info)
    assert facts["operating_points"] == point
    stream = io.StringIO()
    write_table(facts, stream)
    lines = [line for line in stream.getvalue().splitlines() if "operating_points." in line]
    assert len(lines) == 6
    assert "yes 0.97, no 0.9" in stream.getvalue()
