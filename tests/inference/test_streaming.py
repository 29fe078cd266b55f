from itertools import repeat

import numpy as np
import pytest
from streaming_models import HOP_SAMPLES, SECONDS, lively_sound, streaming_file
from trained_looking import INFO, OPSET, trained_looking

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.packaging.onnx_export import write_onnx


def test_it_answers_for_each_frame(tmp_path) -> None:
    model = StreamingModel(streaming_file(tmp_path))
    assert (model.frame_ms, model.hop_samples) == (10, HOP_SAMPLES)
    sound = np.zeros((2, 7 * HOP_SAMPLES), np.float32)
    probabilities, state = model(sound, model.initial_state(2))
    assert probabilities.shape == (2, 7, 4)
    np.testing.assert_allclose(probabilities.sum(2), 1, atol=1e-5)
    assert state.shape == model.initial_state(2).shape


def test_the_state_makes_the_difference(tmp_path) -> None:
    model = StreamingModel(streaming_file(tmp_path))
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 40 * HOP_SAMPLES)).astype(np.float32)
    first, state = model(sound, model.initial_state())
    second, _ = model(sound, state)
    assert np.abs(first - second).max() > 0.01


def test_a_long_waveform_is_answered_as_in_one_call(tmp_path) -> None:
    model, sound = StreamingModel(streaming_file(tmp_path)), lively_sound(SECONDS)
    expected = model(sound[np.newaxis], model.initial_state())[0][0]
    found = model.rows(sound[:-1], repeat(70))  # of the last frame a sample is missing
    np.testing.assert_allclose(found, expected[:-1], atol=1e-5)


def test_half_a_frame_is_refused(tmp_path) -> None:
    model = StreamingModel(streaming_file(tmp_path))
    with pytest.raises(KwsError, match="whole frames of 160 samples"):
        model(np.zeros((1, 100), np.float32), model.initial_state())


def test_a_model_for_clips_is_refused_and_one_for_streams_by_the_spotter(tmp_path) -> None:
    clips = tmp_path / "model.onnx"
    write_onnx(trained_looking(DSCNN(4, 40, 8, 1, [4, 10], [2, 2], 0.2)), INFO, OPSET, clips)
    with pytest.raises(KwsError, match="answers for clips.*model.streaming.onnx"):
        StreamingModel(clips)
    with pytest.raises(
        KwsError, match="listens to a stream: use `kws listen FILE speed=0` or KeywordListener"
    ):
        KeywordSpotter(streaming_file(tmp_path))
