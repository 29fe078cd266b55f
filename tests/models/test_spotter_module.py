"""The front-end, then the backbone."""

import pytest
import torch
from streaming_models import lively_sound, streaming_spotter
from torch import nn
from trained_looking import SAMPLE_RATE, trained_looking

from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.speech_embedding import MELS, SpeechEmbeddingNet
from speech_commands_kws.models.spotter_module import SpotterModule


def test_logits_are_the_backbone_of_the_frontend() -> None:
    frontend = nn.Unflatten(1, (1, 2, 4))
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    module, waveform = SpotterModule(frontend, backbone), torch.randn(5, 8)
    assert torch.equal(module(waveform), backbone[1](waveform))
    assert set(module.state_dict()) == {"backbone.1.weight", "backbone.1.bias"}


def test_trained_on_streams_a_clip_is_answered_by_the_frame_that_is_surest_of_a_keyword() -> None:
    before = streaming_spotter()
    keywords = [False, False, True, True]
    spotter = SpotterModule(before.frontend, before.backbone, keywords).eval()
    clips = torch.from_numpy(lively_sound(6)).reshape(6, -1)
    with torch.inference_mode():
        logits, streamed = spotter(clips), before.backbone.stream(before.frontend(clips))
    sure = streamed.softmax(1)[:, 2:].sum(1)
    # The last digit depends on the number of threads.
    torch.testing.assert_close(logits.softmax(1)[:, 2:].sum(1), sure.amax(1))
    assert len(set(sure.argmax(1).tolist())) > 1
    assert all((streamed[i] == logits[i, :, None]).all(0).any() for i in range(6))


def test_a_streaming_backbone_needs_a_front_end_that_does_not_look_ahead() -> None:
    frontend = LogMel(16000, 30, 10, 512, 40, 0, 8000, 1e-6)
    with pytest.raises(ValueError, match="needs frontend=log_mel_causal"):
        SpotterModule(frontend, streaming_spotter().backbone)


@pytest.mark.parametrize(
    ("backbone", "n_mels"),
    [
        (BCResNet(4, 40, 1, 5, 0.1, fast_training=False), 40),
        (DSCNN(4, 40, 16, 2, [10, 4], [2, 2], 0.1), 40),
        (SpeechEmbeddingNet(4, MELS, 0.1), MELS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_logits_of_every_backbone_of_clips_can_be_divided(backbone, n_mels) -> None:
    spotter = trained_looking(backbone, n_mels)
    clips = 0.1 * torch.randn(3, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = spotter(clips)
    spotter.divide_logits(2.5)
    with torch.inference_mode():
        torch.testing.assert_close(spotter(clips), before / 2.5)
