"""The compiled loops stand apart: each network imports one function, in one place, and all works without them."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.cpu_training import forward

PACKAGE = Path(__file__).resolve().parents[3] / "speech_commands_kws"
ROOM = "speech_commands_kws.models.cpu_training"


def test_each_network_imports_one_function_of_them():
    found = {
        (path.relative_to(PACKAGE).as_posix(), line.strip())
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "cpu_training"
        for line in path.read_text(encoding="utf-8").splitlines()
        if ROOM in line
    }
    assert found == {
        ("models/bc_resnet.py", f"from {ROOM}.forward import training_forward"),
        ("models/streaming.py", f"from {ROOM}.forward import training_features"),
    }


def test_a_training_step_needs_none_of_them(monkeypatch):
    for name in ("", ".forward", ".kernels", ".passes", ".threads", ".workspace"):
        monkeypatch.setitem(sys.modules, ROOM + name, None)  # an import of it fails
    torch.manual_seed(0)
    network = BCResNet(4, 40, 1, 5, 0.1, fast_training=False).train()
    network(torch.randn(2, 1, 40, 101)).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_the_first_training_says_that_loops_are_compiled(monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(
        forward.kernels,
        "finish_and_begin",
        SimpleNamespace(stats=SimpleNamespace(cache_path=tmp_path)),
    )
    forward.announce_compilation.__wrapped__()
    assert "compiling the loops of the training, once on this machine" in caplog.text
    caplog.clear()
    compiled = tmp_path / "kernels.finish_and_begin-1.py311.nbi"
    compiled.touch()
    forward.announce_compilation.__wrapped__()
    assert caplog.text == ""
    os.utime(compiled, (0, 0))  # of an older version of the source
    forward.announce_compilation.__wrapped__()
    assert "compiling" in caplog.text
