import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.description import describe, write_table


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
