"""A model file in onnxruntime: what it gives, and what is no model of ours."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import SAMPLE_RATE, TINY_LABELS, TINY_METADATA, burst
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from onnx import TensorProto, helper

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_scores_are_those_of_the_graph(tiny_onnx: Path, batch: int) -> None:
    waveforms = np.random.default_rng(0).normal(size=(batch, SAMPLE_RATE)).astype(np.float32)
    probabilities, logits = OnnxBackend(tiny_onnx)(waveforms)
    expected = 20 * np.square(waveforms).reshape(batch, len(TINY_LABELS), -1).mean(axis=2)
    np.testing.assert_allclose(logits, expected, rtol=1e-4)
    softmax = np.exp(expected - expected.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        probabilities, softmax / softmax.sum(axis=1, keepdims=True), atol=1e-4
    )


@pytest.mark.parametrize("calls", ["OnnxBackend(model)", "import_onnxruntime()"])
def test_nothing_is_kept_or_sent_about_the_user(
    tiny_onnx: Path, tmp_path: Path, calls: str
) -> None:
    """onnxruntime keeps the identifier that its telemetry sends in the home folder, from its import on."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    names = "OnnxBackend, import_onnxruntime"
    lines = f"from {OnnxBackend.__module__} import {names}; model = {str(tiny_onnx)!r}; {calls}"
    subprocess.run([sys.executable, "-c", lines], env=kept | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not shutil.which("strace"), reason="needs strace to see what the library asks of the system"
)
def test_a_process_that_lives_for_a_while_writes_nothing_and_asks_for_no_address(
    tiny_onnx: Path, tmp_path: Path
) -> None:
    """With `KWS_TRACE_SECONDS=60` it lives as long as the first report of the telemetry needs; in the suite for two."""
    seconds = os.environ.get("KWS_TRACE_SECONDS", "2")
    lines = f"""if True:
        import time
        import numpy
        from {OnnxBackend.__module__} import OnnxBackend
        backend = OnnxBackend({str(tiny_onnx)!r})
        end = time.monotonic() + {seconds}
        while time.monotonic() < end:
            backend(numpy.zeros((1, backend.info.clip_samples), numpy.float32))
            time.sleep(0.5)
    """
    traced = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,socket,connect,sendto"
    command = ["strace", "-f", "-qq", "-e", f"trace={traced}", "-o", tmp_path / "trace"]
    command += [sys.executable, "-B", "-c", lines]
    subprocess.run(command, env=os.environ | {"HOME": str(tmp_path)}, check=True)
    calls = (tmp_path / "trace").read_text("utf-8", "replace").splitlines()
    changing = re.compile(
        r" (creat|mkdir|mkdirat|rename\w*|socket|connect|sendto)\(|O_(WRONLY|RDWR|CREAT)|/etc/(hosts|resolv)"
    )
    harmless = re.compile(r"/dev/|/proc/|/sys/|= -1 ENOENT")
    assert any(str(tiny_onnx) in call for call in calls), "nothing was traced"
    assert [call for call in calls if changing.search(call) and not harmless.search(call)] == []


def test_the_model_says_what_it_is(tiny_onnx: Path) -> None:
    info = OnnxBackend(tiny_onnx).info
    assert info.labels == tuple(TINY_LABELS)
    assert (info.sample_rate, info.clip_samples) == (SAMPLE_RATE, SAMPLE_RATE)
    assert info.frontend == {"n_mels": 40}
    assert info.training == {"run": "tiny", "accuracy": 0.5}


def test_the_configuration_makes_the_engine(tiny_onnx: Path) -> None:
    assert OnnxBackend(tiny_onnx).session.get_session_options().intra_op_num_threads == 1
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("infer", ["backend.intra_threads=2"])
    backend = instantiate(cfg.backend, _execution_whitelist_=["speech_commands_kws.*"])(tiny_onnx)
    assert backend.session.get_session_options().intra_op_num_threads == 2
    assert backend(burst("yes")[None])[0].argmax() == TINY_LABELS.index("yes")
    assert set(cfg.backend) - {"_target_", "_partial_"} < set(
        inspect.signature(OnnxBackend).parameters
    )


def test_a_name_that_is_not_utf8(tmp_path: Path, make_tiny_onnx: Callable) -> None:
    path = make_tiny_onnx(Path(os.fsdecode(os.fsencode(tmp_path) + b"/mod\xe9le.onnx")))
    assert OnnxBackend(path).info.labels == tuple(TINY_LABELS)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x07", bytes(1_000)])
def test_a_file_that_is_no_onnx_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(KwsError, match="odd.onnx is not an ONNX model") as caught:
        OnnxBackend(tmp_path / "odd.onnx")
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(tiny_onnx.read_bytes()[:300])
    with pytest.raises(KwsError, match="half.onnx is not"):
        OnnxBackend(tmp_path / "half.onnx")


def test_a_missing_model_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="nowhere.onnx cannot be opened: No such file"):
        OnnxBackend(tmp_path / "nowhere.onnx")
    with pytest.raises(KwsError, match="cannot be opened: Is a directory"):
        OnnxBackend(tmp_path)


def test_an_unknown_provider_is_refused(tiny_onnx: Path) -> None:
    with pytest.raises(
        KwsError, match="has no AbacusExecutionProvider: choose from .*CPUExecutionProvider"
    ):
        OnnxBackend(tiny_onnx, providers=["AbacusExecutionProvider"])


def test_all_providers_that_there_are_may_be_named(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: present)
    assert OnnxBackend(tiny_onnx, providers=present).session.get_providers() == present


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"providers": "CPUExecutionProvider"}, "must be a list such as .CPUExecutionProvider.,"),
        ({"intra_threads": 100_000}, "a whole number from 0 to 256, got 100000"),
        ({"intra_threads": True}, "a whole number from 0 to 256, got True"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tiny_onnx: Path, setting: dict, complaint: str
) -> None:
    with pytest.raises(KwsError, match=complaint):
        OnnxBackend(tiny_onnx, **setting)


def test_a_model_that_fails_for_its_own_clips_is_one_line(
    tmp_path: Path, make_tiny_onnx: Callable
) -> None:
    path = make_tiny_onnx(tmp_path / "odd.onnx", TINY_METADATA | {"clip_samples": "8000"})
    with pytest.raises(
        KwsError, match=r"odd.onnx fails for clips \(1, 8000\) \(.*waveform"
    ) as found:
        OnnxBackend(path)(np.zeros((1, 8000), np.float32))
    assert "\n" not in str(found.value)


def test_somebody_elses_model_is_refused(tmp_path: Path) -> None:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("left", "right")
    ]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["left"], ["right"])], "foreign", values[:1], values[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(KwsError, match="foreign.onnx is not a keyword spotter exported by"):
        OnnxBackend(tmp_path / "foreign.onnx")
