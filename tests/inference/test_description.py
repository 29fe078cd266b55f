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
