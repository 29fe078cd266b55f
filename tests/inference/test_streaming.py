from itertools import repeat

import numpy as np
import pytest
from streaming_models import HOP_SAMPLES, SECONDS, DrawnGate, lively_sound, streaming_file
from trained_looking import INFO, OPSET, trained_looking

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.inference.streaming import ModelStream, StreamingModel
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.packaging.onnx_export import write_onnx


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> StreamingModel:
    return StreamingModel(streaming_file(tmp_path_factory.mktemp("model")))


def test_it_answers_for_each_frame(model) -> None:
    assert (model.frame_ms, model.hop_samples) == (10, HOP_SAMPLES)
    sound = np.zeros((2, 7 * HOP_SAMPLES), np.float32)
    probabilities, state = model(sound, model.initial_state(2))
    assert probabilities.shape == (2, 7, 4)
    np.testing.assert_allclose(probabilities.sum(2), 1, atol=1e-5)
    assert state.shape == model.initial_state(2).shape


def test_the_state_makes_the_difference(model) -> None:
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 40 * HOP_SAMPLES)).astype(np.float32)
    first, state = model(sound, model.initial_state())
    second, _ = model(sound, state)
    assert np.abs(first - second).max() > 0.01


def test_a_long_waveform_is_answered_as_in_one_call(model) -> None:
    sound = lively_sound(SECONDS)
    expected = model(sound[np.newaxis], model.initial_state())[0][0]
    found = model.rows(sound[:-1], repeat(70))  # of the last frame a sample is missing
    np.testing.assert_allclose(found, expected[:-1], atol=1e-5)


@pytest.mark.parametrize("call_frames", [7, 10])
@pytest.mark.parametrize("open_share", [0.1, 0.5, 0.02])
def test_behind_a_gate_each_answer_is_that_of_the_whole_stream(
    model, call_frames, open_share
) -> None:
    """After naps shorter than the memory of the model, and longer ones. A call of one frame rounds by 5e-5."""
    sound = lively_sound(4 * SECONDS)
    expected = model(sound[np.newaxis], model.initial_state())[0][0]
    gate = DrawnGate(3, open_share)
    found = model.rows(sound, repeat(call_frames), gate)
    heard = found.any(axis=1)
    gate.reset()
    calls = -(-len(expected) // call_frames)
    opened = np.repeat([gate(sound, 0) for _ in range(calls)], call_frames)[: len(expected)]
    assert 0 < heard.sum() < len(heard)
    np.testing.assert_array_equal(heard, opened)
    np.testing.assert_allclose(found[heard], expected[heard], atol=1e-5)


def test_a_gate_keeps_no_more_sound_than_the_model_remembers(model) -> None:
    stream = ModelStream(model, DrawnGate(0, open_share=0))
    for _ in range(100):
        stream(np.zeros(10 * HOP_SAMPLES, np.float32))
    remembered = model.memory_frames * HOP_SAMPLES
    assert remembered <= sum(map(len, stream.passed)) < remembered + 10 * HOP_SAMPLES


def test_half_a_frame_is_refused(model) -> None:
    with pytest.raises(KwsError, match="whole frames of 160 samples"):
        model(np.zeros((1, 100), np.float32), model.initial_state())


def test_a_model_for_clips_is_refused_and_one_for_streams_by_the_spotter(model, tmp_path) -> None:
    clips = tmp_path / "model.onnx"
    write_onnx(trained_looking(DSCNN(4, 40, 8, 1, [4, 10], [2, 2], 0.2)), INFO, OPSET, clips)
    with pytest.raises(KwsError, match="answers for clips.*model.streaming.onnx"):
        StreamingModel(clips)
    with pytest.raises(KwsError, match="listens to a stream: use KeywordListener, `kws listen` or"):
        KeywordSpotter(model.model)
