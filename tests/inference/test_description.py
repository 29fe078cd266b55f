import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from operating_points import POINT

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
    detector = {"thresholds": {"yes": 0.97, "no": 0.9}, "settle_ms": 80}
    info = replace(OnnxBackend(tiny_onnx).info, detector=detector, operating_points=POINT)
    rows = operating_rows(POINT)
    assert rows["missed"] == "15.0% of 40 words (95% interval 7.1% to 29.1%)"
    assert rows["missed_by_condition"] == "clean 15.0%, 10 dB 20.0%"
    assert rows["false_alarms"].startswith(
        "0.50 an hour, below 1.29 with 95% confidence: 3 in 6.00 h of recordings"
    )
    assert rows["false_alarms_by_kind"] == "music 3, other words 3"
    assert rows["latency"].startswith("0.15 s") and rows["latency"].endswith("0.38 s")
    without = POINT | {"latency_seconds": {"median": None, "p95": None}}
    assert operating_rows(without) == {name: rows[name] for name in rows if name != "latency"}
    facts = describe(tiny_onnx, info)
    assert facts["operating_points"] == POINT
    stream = io.StringIO()
    write_table(facts, stream)
    lines = [line for line in stream.getvalue().splitlines() if "operating_points." in line]
    assert len(lines) == 6
    assert "yes 0.97, no 0.9" in stream.getvalue()
