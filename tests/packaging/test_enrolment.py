"""A classifier on four numbers, to which a fifth row is added."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from trained_looking import INFO, OPSET, trained_looking

from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.packaging.enrolment import (
    Classifier,
    Enrolment,
    Spoken,
    embedder,
    find_classifier,
    lead,
    starting_row,
    with_label,
)
from speech_commands_kws.packaging.onnx_export import write_onnx

ENROLMENT = Enrolment(false_accepts=0.05, ridge=0.001, shrinkage=0.02, spoken_share=0.3)
CLASSIFIER = Classifier(("weight", "bias"), 3 * np.eye(4), np.zeros(4))
START = np.zeros(4)


def embeddings(seed: int, *centres: tuple[float, ...], count: int = 100) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(scale=0.2, size=(len(centres) * count, 4))
    return np.repeat(centres, count, axis=0) + noise


OTHERS = embeddings(0, *np.eye(4))
WORD = embeddings(1, (1.0, 1.0, 0.0, 0.0), count=10)
NOBODY = Spoken(WORD[:0], WORD[:0])


def test_the_new_row_wins_for_its_word_and_seldom_for_others():
    weights, bias = ENROLMENT.row(WORD, NOBODY, OTHERS, CLASSIFIER, START)
    new_word = embeddings(2, (1.0, 1.0, 0.0, 0.0))
    assert np.mean(lead(weights, new_word, CLASSIFIER) + bias > 0) > 0.9
    assert np.mean(lead(weights, OTHERS, CLASSIFIER) + bias > 0) == pytest.approx(0.05, abs=0.003)


def test_synthetic_voices_stand_for_other_people():
    """They say the word as other people do, otherwise than the voice that was recorded, and another word too."""
    said_by_others = (0.2, 1.0, 0.8, 0.0)
    near = (1.0, 0.4, 0.0, 0.4)
    spoken = Spoken(embeddings(3, said_by_others, count=60), embeddings(4, near))
    shares = {}
    for name, given in {"alone": NOBODY, "spoken": spoken}.items():
        weights, bias = ENROLMENT.row(WORD, given, OTHERS, CLASSIFIER, START)
        shares[name] = [
            np.mean(lead(weights, embeddings(5, centre), CLASSIFIER) + bias > 0)
            for centre in (said_by_others, near, (1.0, 1.0, 0.0, 0.0))
        ]
    assert shares["spoken"][0] > shares["alone"][0] + 0.3
    assert shares["spoken"][1] < shares["alone"][1] - 0.3
    assert shares["spoken"][2] > 0.9


def test_recordings_are_measured_when_they_are_left_out():
    clips = WORD[:5, None]
    recall, wrong = ENROLMENT.measure(clips, NOBODY, OTHERS, CLASSIFIER, START)
    assert recall >= 0.8 and 0 < wrong < 0.1
    stray = clips.copy()
    stray[0] = (0.0, 0.0, 0.0, 1.0)  # a recording of another word
    assert ENROLMENT.measure(stray, NOBODY, OTHERS, CLASSIFIER, START)[0] <= 0.8


def test_a_word_begins_as_an_unknown_one():
    assert starting_row(CLASSIFIER, INFO).tolist() == [0, 3, 0, 0]
    without = replace(INFO, labels=("yes", "no", "up", "down"))
    assert starting_row(CLASSIFIER, without).tolist() == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    network = BCResNet(len(INFO.labels), 40, 1, 5, 0.1, fast_training=False)
    write_onnx(trained_looking(network), INFO, OPSET, path)
    return path


def test_the_other_logits_of_an_export_stay(exported):
    model = onnx.load(exported)
    classifier = find_classifier(model, exported)
    waveforms = np.random.default_rng(0).normal(scale=0.1, size=(3, 16000)).astype(np.float32)
    embedding = embedder(model, classifier)(waveforms)
    row = np.linspace(-1, 1, embedding.shape[1])
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"waveform": waveforms})
        for each in (model, with_label(model, classifier, row, 0.5))
    )
    np.testing.assert_allclose(after[1][:, :4], before[1], atol=1e-5)
    np.testing.assert_allclose(classifier.logits(embedding), before[1], atol=1e-4)
    np.testing.assert_allclose(after[1][:, 4], embedding @ row + 0.5, atol=1e-4)
    np.testing.assert_allclose(after[0].sum(axis=1), 1, atol=1e-5)


def test_a_model_in_fewer_bits_is_refused(exported):
    model = onnx.load(exported)
    name = find_classifier(model, exported).names[0]
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), name))
    with pytest.raises(KwsError, match="in single precision, model.onnx does not"):
        find_classifier(model, Path("model.onnx"))


def test_a_product_of_another_kind_is_refused():
    node = helper.make_node("Gemm", ["inputs", "weight", "bias"], ["logits"], transB=0)
    tensors = [
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight"),
        numpy_helper.from_array(np.zeros(4, np.float32), "bias"),
    ]
    inputs, logits = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])
        for name in ("inputs", "logits")
    )
    model = helper.make_model(helper.make_graph([node], "one", [inputs], [logits], tensors))
    with pytest.raises(KwsError, match="ends in a linear layer"):
        find_classifier(model, Path("model.onnx"))


@pytest.mark.parametrize(
    "setting", [{"false_accepts": 1.5}, {"ridge": 0}, {"shrinkage": -1}, {"spoken_share": 2}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingError):
        replace(ENROLMENT, **setting)
