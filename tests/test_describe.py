"""What `kws describe` shows of a model."""

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import TINY_METADATA

from speech_commands_kws.commands import main as kws


@pytest.fixture
def described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `kws describe` in `tmp_path`: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kws", "describe", *arguments])
        try:
            status = kws()
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_json_has_every_fact(tiny_onnx: Path, described: Callable) -> None:
    status, output, complaints = described(str(tiny_onnx), "format=json")
    assert (status, complaints) == (0, "")
    assert json.loads(output) == {
        "file": str(tiny_onnx),
        "bytes": tiny_onnx.stat().st_size,
        "sha256": sha256(tiny_onnx.read_bytes()).hexdigest(),
        "operators": {},
        "labels": ["_silence_", "_unknown_", "yes", "no"],
        "sample_rate": 16_000,
        "clip_samples": 16_000,
        "clip_seconds": 1.0,
        "frontend": {"n_mels": 40},
        "detection": {},
        "training": {"run": "tiny", "accuracy": 0.5},
    }


def test_the_table_has_every_fact(
    tmp_path: Path, make_tiny_onnx: Callable, described: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"run": "[red]x[/red]", "split": {"train": 10, "test": 5}, "words": ["a", "b"]}
    metadata = TINY_METADATA | {
        "training": json.dumps(training | {"multiply_adds": 12, "operators": {"Mul": 2}}),
        "detection": json.dumps({"threshold": 0.75}),
    }
    make_tiny_onnx(tmp_path / "a model.onnx", metadata)
    monkeypatch.setenv("COLUMNS", "120")
    status, output, complaints = described("a model.onnx")
    assert (status, complaints) == (0, "")
    lines = [line for line in output.splitlines() if len(line.split()) > 1]
    facts = dict(line.split(maxsplit=1) for line in lines)
    facts = {name: text.strip() for name, text in facts.items()}
    assert facts["file"] == "a model.onnx"
    assert facts["labels"] == "_silence_, _unknown_, yes, no"
    assert facts["sample_rate"] == "16000"
    assert facts["frontend.n_mels"] == "40"
    assert facts["operators.Mul"] == "2"
    assert facts["multiply_adds"] == "12"
    assert facts["detection.threshold"] == "0.75"
    assert facts["training.run"] == "[red]x[/red]"
    assert facts["training.split.test"] == "5"
    assert facts["training.words"] == "a, b"
    assert list(tmp_path.iterdir()) == [tmp_path / "a model.onnx"]


def test_without_a_name_the_newest_export(
    tmp_path: Path, make_tiny_onnx: Callable, described: Callable
) -> None:
    assert "train and export first" in described("format=json")[2]
    run = tmp_path / "plots" / "runs" / "first"
    run.mkdir(parents=True)
    make_tiny_onnx(run / "model.onnx")
    assert json.loads(described("format=json")[1])["file"] == str(run / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.onnx"], "nowhere.onnx does not exist"),
        (["text.onnx"], "text.onnx is not an ONNX model"),
        (["kept.onnx"], "DVC cannot pull kept.onnx.dvc: "),
        (["text.onnx", "backend=triton"], "describe reads a model file: leave backend= out"),
        (["text.onnx", "format=xml"], "format must be one of table, json, got xml"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, described: Callable, arguments: list[str], reason: str
) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "kept.onnx.dvc").touch()
    status, output, complaints = described(*arguments)
    assert (status, output) == (1, "")
    assert complaints.startswith(f"error: {reason}")
    assert complaints.count("\n") == 1
