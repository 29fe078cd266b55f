import numpy as np
import onnx
import pytest
import torch
from streaming_models import (
    HOP_SAMPLES,
    SECONDS,
    lively_sound,
    streaming_file,
    streaming_spotter,
)
from torch import Tensor, nn
from trained_looking import SAMPLE_RATE

from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.onnx_export import operator_counts
from speech_commands_kws.packaging.streaming_graph import StreamingGraph, regrouped

FRAMES = 240
CHUNKINGS = 100


def sound(streams: int) -> Tensor:
    whole = torch.from_numpy(lively_sound(SECONDS))
    return torch.stack([whole.roll(1000 * i)[: FRAMES * HOP_SAMPLES] for i in range(streams)])


def answers_at_once(spotter: SpotterModule, waveform: Tensor) -> Tensor:
    """(B, F, K) probabilities."""
    with torch.inference_mode():
        return spotter.backbone.stream(spotter.frontend(waveform)).softmax(1).transpose(1, 2)


def in_pieces(graph, waveform, state, generator: np.random.Generator) -> list:
    """Probabilities of calls with 1 to 39 frames."""
    answers, frame = [], 0
    while frame < FRAMES:
        n_frames = min(int(generator.integers(1, 40)), FRAMES - frame)
        stop = frame + n_frames
        outputs = graph(waveform[:, frame * HOP_SAMPLES : stop * HOP_SAMPLES], state)
        answers.append(outputs[0])
        state, frame = outputs[-1], stop
    return answers


@pytest.mark.parametrize("kernel", [3, 5])
def test_however_a_stream_is_cut_its_answers_are_those_of_the_module(tmp_path, kernel) -> None:
    spotter = streaming_spotter(kernel)
    graph, model = StreamingGraph(spotter).eval(), StreamingModel(streaming_file(tmp_path, kernel))
    generator = np.random.default_rng(kernel)
    for streams in (1, 3):
        waveform = sound(streams)
        expected = answers_at_once(spotter, waveform)
        assert (expected[:, 50] - expected[:, 150]).abs().max() > 0.05
        with torch.inference_mode():
            state = torch.zeros(streams, *graph.state_shape)
            given = torch.cat(in_pieces(graph, waveform, state, generator), dim=1)
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)
        for _ in range(CHUNKINGS // 4):
            state = model.initial_state(streams)
            given = np.concatenate(in_pieces(model, waveform.numpy(), state, generator), axis=1)
            np.testing.assert_allclose(given, expected, atol=1e-5)


def test_after_its_memory_nothing_of_a_sound_is_left() -> None:
    graph = StreamingGraph(streaming_spotter()).eval()
    # Frames of the window, the stem, the blocks, 2 (2 x 1 + 2 x 2 + 4 x 4 + 4 x 8), the head and the mean.
    assert graph.memory_frames == 2 + 4 + 2 * 54 + 4 + 32
    silence = torch.zeros(1, graph.memory_frames * HOP_SAMPLES)
    with torch.inference_mode():
        loud = graph(sound(1), torch.zeros(1, *graph.state_shape))[2]
        soft = graph(0.3 * sound(1), torch.zeros(1, *graph.state_shape))[2]
        loud, soft = (graph(silence, state)[2] for state in (loud, soft))
    torch.testing.assert_close(loud, soft, atol=1e-5, rtol=0)


def test_no_shape_is_computed(tmp_path) -> None:
    operators = operator_counts(streaming_file(tmp_path))
    assert not operators.keys() & {"Shape", "Gather", "Squeeze", "Div"}
    assert operators["Reshape"] > 10


def test_nothing_is_reshaped_twice(tmp_path) -> None:
    reshapes = [
        node for node in onnx.load(streaming_file(tmp_path)).graph.node if node.op_type == "Reshape"
    ]
    assert not {node.input[0] for node in reshapes} & {node.output[0] for node in reshapes}


@pytest.mark.parametrize(
    ("groups", "width", "expected"), [(4, 3, 1), (20, 5, 4), (7, 5, 7), (2, 40, 2), (6, 16, 3)]
)
def test_fewer_groups_convolve_alike(groups, width, expected) -> None:
    torch.manual_seed(0)
    own = nn.Conv1d(groups * width, groups * 2, 3, groups=groups, dilation=2)
    with torch.no_grad():
        fewer = regrouped(own)
        rows = torch.randn(2, groups * width, 9)
        torch.testing.assert_close(fewer(rows), own(rows), atol=1e-5, rtol=0)
    assert fewer.groups == expected


def test_normalisations_are_folded() -> None:
    graph = StreamingGraph(streaming_spotter())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in graph.modules())


@pytest.mark.parametrize("mean_frames", [1, 30])
def test_a_mean_that_does_not_fill_its_rows(monkeypatch, mean_frames) -> None:
    spotter = streaming_spotter()
    monkeypatch.setattr(spotter.backbone, "mean_frames", mean_frames)
    graph = StreamingGraph(spotter).eval()
    with torch.inference_mode():
        state = torch.zeros(2, *graph.state_shape)
        given = torch.cat(in_pieces(graph, sound(2), state, np.random.default_rng(0)), dim=1)
    torch.testing.assert_close(given, answers_at_once(spotter, sound(2)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("window_ms", "hop_ms"), [(30, 20), (25, 10), (30, 8), (20, 20), (31, 12)])
def test_other_windows_and_hops(window_ms, hop_ms) -> None:
    frontend = LogMel(SAMPLE_RATE, window_ms, hop_ms, 512, 40, 0, 8000, 1e-6, causal=True)
    spotter = SpotterModule(frontend, streaming_spotter().backbone).eval()
    graph = StreamingGraph(spotter).eval()
    hop, state = frontend.hop_samples, torch.zeros(1, *graph.state_shape)
    waveform = sound(1)[:, : 100 * hop]
    given = []
    with torch.inference_mode():
        for piece in waveform.split([hop, 7 * hop, 92 * hop], dim=1):
            answers, _, state = graph(piece, state)
            given.append(answers)
    torch.testing.assert_close(
        torch.cat(given, dim=1), answers_at_once(spotter, waveform), atol=1e-5, rtol=0
    )
