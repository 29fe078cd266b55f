"""`kws enroll` on a model whose embedding is the energy of the quarters of a clip."""

import numpy as np
import onnx
import pytest
import soundfile
from conftest import SAMPLE_RATE, TINY_LABELS, TINY_METADATA, build_tiny_onnx, burst
from onnx import helper, numpy_helper

from speech_commands_kws import KeywordSpotter


@pytest.fixture
def model(tmp_path):
    """The model of `build_tiny_onnx` with its scale as a linear layer."""
    path = build_tiny_onnx(tmp_path / "model.onnx")
    tiny = onnx.load(path)
    rows = 20 * np.eye(len(TINY_LABELS), dtype=np.float32)
    tiny.graph.initializer.append(numpy_helper.from_array(rows, "rows"))
    tiny.graph.initializer.append(numpy_helper.from_array(rows[0] * 0, "bias"))
    (place,) = (i for i, node in enumerate(tiny.graph.node) if "logits" in node.output)
    layer = helper.make_node("Gemm", ["energy", "rows", "bias"], ["logits"], transB=1)
    tiny.graph.node[place].CopyFrom(layer)
    onnx.save(tiny, path)
    return path


def both(level):
    return (burst("yes") + burst("no")) * level


def write(folder, waveforms):
    folder.mkdir(parents=True)
    for i, waveform in enumerate(waveforms):
        soundfile.write(folder / f"anna_nohash_{i}.wav", waveform, SAMPLE_RATE)
    return folder


@pytest.fixture
def folders(tmp_path):
    levels = np.linspace(0.6, 1.2, 12)
    for label in ("yes", "no"):
        write(tmp_path / "others" / label, [burst(label) * level for level in levels])
    write(tmp_path / "others" / "Both", [both(1.0)])  # of the word itself, which is left out
    return write(tmp_path / "both", [both(level) for level in (0.8, 0.9, 1.0, 1.1)])


@pytest.fixture
def enroll(model, folders, tmp_path, type_kws):
    def run(*changed):
        given = {"model": model, "word": "both", "clips": folders, "others": tmp_path / "others"}
        given["enrolment.spoken_share"] = 0
        given |= dict(setting.split("=", 1) for setting in changed)
        arguments = [f"{key}={value}" for key, value in given.items()]
        # The energy of a quarter is no longer that of a word when the word is moved.
        arguments += ["effects.steps.speed=null", "effects.steps.shift=null"]
        return type_kws("enroll", *arguments)

    return run


def test_the_keyword_is_in_a_file_like_any_other(enroll, tmp_path):
    status, out, err = enroll()
    assert (status, err) == (0, "")
    assert "both added as class 5" in out and "4 of 4 recordings of 1 speaker are" in out
    assert "of 24 clips of other words" in out and "other people are understood less well" in out
    spotter = KeywordSpotter(tmp_path / "model_both.onnx")
    assert spotter.labels == (*TINY_LABELS, "both")
    assert spotter(both(0.95))[0].label == "both" and spotter(burst("yes"))[0].label == "yes"
    facts = spotter.backend.info.training["enrolled"]["both"]
    assert facts["recordings"] == 4 and facts["recall"] == 1.0 and facts["other_clips"] == 24
    card = (tmp_path / "model_both.md").read_text()
    assert "| both | 4 | 1 | – | 100.0% |" in card and "understood less well" in card


def test_synthetic_voices_say_the_keyword_too(enroll, tmp_path):
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    few = ("data.source.speakers=10", "data.source.shares.hibari=0")
    paths = f"paths.root={tmp_path}"
    status, _, err = enroll("enrolment.spoken_share=0.1", *few, paths)
    assert status == 0 and "error" not in err
    facts = KeywordSpotter(tmp_path / "model_both.onnx").backend.info.training["enrolled"]["both"]
    assert facts["synthetic_voices"] == 10 and facts["spoken_by"].startswith("espeak-ng")
    assert "| both | 4 | 1 | 10 by espeak-ng" in (tmp_path / "model_both.md").read_text()


def test_what_cannot_be_enrolled_is_one_clear_line(enroll, tmp_path, make_tiny_onnx):
    streaming = make_tiny_onnx(
        tmp_path / "model.streaming.onnx", TINY_METADATA | {"streaming": '{"hop_samples": 160}'}
    )
    few = write(tmp_path / "few", [both(1.0)] * 2)
    silent = write(tmp_path / "silent", [both(1.0), both(1.0), both(0.0)])
    for setting, complaint in {
        f"clips={few}": "expected at least 3 recordings of the word",
        f"clips={silent}": "anna_nohash_2.wav has no sound above -50 dBFS",
        "word=Yes": "Yes is a label of",
        "word=r2d2": "word must be words of letters",
        f"model={streaming}": "listens to a stream",
        "others=null": "give others=FOLDER",
        f"others={tmp_path / 'both'}": "expected clips of other words than both",
        f"model={make_tiny_onnx(tmp_path / 'other.onnx')}": "in single precision",
    }.items():
        status, out, err = enroll(setting)
        assert status == 1 and out == "" and err.count("\n") == 1, (setting, err)
        assert err.startswith("error: ") and complaint in err, (setting, err)
    assert not (tmp_path / "model_both.onnx").exists()
