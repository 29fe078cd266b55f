"""The public class: what it hears in files and arrays, and what it refuses."""

import inspect
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, TINY_LABELS, TINY_METADATA, burst
from hydra import compose, initialize_config_dir

from speech_commands_kws import KeywordSpotter
from speech_commands_kws.audio.reading import AudioError
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.spotter import Keyword, Prediction

# The burst's mean square over its quarter is 1/8, so that its logit is 20/8 and the three others 0.
EXPECTED = np.exp(2.5) / (np.exp(2.5) + 3)


@pytest.fixture
def spotter(tiny_onnx: Path) -> KeywordSpotter:
    return KeywordSpotter(tiny_onnx)


@pytest.mark.parametrize("keyword", TINY_LABELS)
def test_a_file_is_answered(spotter: KeywordSpotter, burst_wav: Callable, keyword: str) -> None:
    (prediction,) = spotter(burst_wav("clip.flac", keyword, 44_100, channels=2))
    assert prediction.label == keyword
    assert prediction.probability == pytest.approx(EXPECTED, abs=1e-3)
    assert (prediction.start_seconds, prediction.end_seconds) == (0.0, 1.0)


@pytest.mark.parametrize("as_source", [str, Path, lambda path: io.BytesIO(path.read_bytes())])
def test_names_paths_and_streams_are_the_same(
    spotter: KeywordSpotter, burst_wav: Callable, as_source: Callable
) -> None:
    path = burst_wav("clip.wav", "yes")
    assert spotter(as_source(path)) == spotter(path)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_arrays_of_any_rate_are_answered(
    spotter: KeywordSpotter, sample_rate: int, dtype: type
) -> None:
    waveform = burst("no", sample_rate)
    samples = (waveform * 2**15).astype(dtype) if dtype is np.int16 else waveform.astype(dtype)
    (prediction,) = spotter(samples, sample_rate=sample_rate)
    assert prediction.label == "no"
    assert prediction.probability == pytest.approx(EXPECTED, abs=2e-3)


def test_an_array_without_a_rate_is_taken_at_the_models(spotter: KeywordSpotter) -> None:
    assert spotter(burst("yes")) == spotter(burst("yes"), sample_rate=SAMPLE_RATE)


def test_keywords_are_ranked_and_their_number_is_bounded(tiny_onnx: Path) -> None:
    (prediction,) = KeywordSpotter(tiny_onnx, top_k=99)(burst("yes"))
    assert len(prediction.keywords) == len(TINY_LABELS)
    assert sum(keyword.probability for keyword in prediction.keywords) == pytest.approx(1, abs=1e-6)
    assert KeywordSpotter(tiny_onnx, top_k=1)(burst("yes"))[0].keywords == prediction.keywords[:1]


def test_a_short_clip_is_centred(spotter: KeywordSpotter) -> None:
    """A quarter of a second lies across the second and third quarters of the clip, half in each."""
    (prediction,) = spotter(np.full(SAMPLE_RATE // 4, 0.5, np.float32))
    assert {keyword.label for keyword in prediction.keywords[:2]} == {"_unknown_", "yes"}
    assert prediction.keywords[0].probability == pytest.approx(prediction.keywords[1].probability)


def test_a_long_recording_is_answered_in_windows(tiny_onnx: Path, tmp_path: Path) -> None:
    """A burst at 1.5 s is in the third quarter of the window that begins at 1 s, and so on."""
    waveform = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), burst("yes", seconds=1.4)])
    soundfile.write(tmp_path / "long.wav", waveform, SAMPLE_RATE)
    predictions = KeywordSpotter(tiny_onnx, hop_seconds=0.25, batch_size=2)(tmp_path / "long.wav")
    assert [prediction.start_seconds for prediction in predictions] == [
        0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.4,
    ]  # fmt: skip
    heard = [prediction.label for prediction in predictions if prediction.probability > 0.5]
    assert heard == ["no", "yes", "_unknown_"]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_matter(tiny_onnx: Path, batch_size: int) -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=3 * SAMPLE_RATE)
    answers = KeywordSpotter(tiny_onnx, batch_size=batch_size)(noise)
    expected = KeywordSpotter(tiny_onnx)(noise)
    assert len(answers) == 9
    for answer, other in zip(answers, expected):
        assert answer.start_seconds == other.start_seconds
        assert answer.label == other.label
        assert answer.probability == pytest.approx(other.probability, abs=1e-6)


def test_predictions_are_plain_values() -> None:
    prediction = Prediction(0.0, 1.0, (Keyword("yes", 0.75), Keyword("no", 0.25)))
    assert (prediction.label, prediction.probability) == ("yes", 0.75)
    with pytest.raises(AttributeError):
        prediction.start_seconds = 1.0


def test_what_is_no_sound_is_refused(spotter: KeywordSpotter, tmp_path: Path) -> None:
    for audio in (np.array([np.nan]), np.zeros(0), [1, 2], tmp_path / "nowhere.wav", None):
        with pytest.raises(AudioError):
            spotter(audio)


def test_a_rate_for_a_file_is_refused(spotter: KeywordSpotter, burst_wav: Callable) -> None:
    with pytest.raises(KwsError, match="leave it out"):
        spotter(burst_wav("clip.wav", "yes"), sample_rate=8_000)


def test_the_step_between_windows_is_the_one_that_the_file_names(
    tmp_path: Path, make_tiny_onnx: Callable
) -> None:
    def model(hop_seconds: float) -> Path:
        detection = {"detection": json.dumps({"hop_seconds": hop_seconds})}
        return make_tiny_onnx(tmp_path / "model.onnx", TINY_METADATA | detection)

    assert KeywordSpotter(model(0.1)).hop_seconds == 0.1
    assert KeywordSpotter(model(0.1), hop_seconds=0.5).hop_seconds == 0.5
    unnamed = KeywordSpotter(make_tiny_onnx(tmp_path / "unnamed.onnx"))
    assert unnamed.hop_samples == unnamed.clip_samples / 4
    with pytest.raises(KwsError, match="hop_seconds must be a number from .* to 1.0, got 5"):
        KeywordSpotter(model(5))


@pytest.mark.parametrize(
    "numbers",
    [
        {"top_k": 0},
        {"top_k": True},
        {"hop_seconds": True},
        {"batch_size": 0},
        {"hop_seconds": 0.0},
        {"hop_seconds": -0.5},
        {"hop_seconds": 1.5},
        {"hop_seconds": 1e-9},
    ],
)
def test_numbers_out_of_range_are_refused(tiny_onnx: Path, numbers: dict) -> None:
    with pytest.raises(KwsError, match=next(iter(numbers))):
        KeywordSpotter(tiny_onnx, **numbers)


def test_a_model_that_gives_nan_is_refused(tmp_path: Path, make_tiny_onnx: Callable) -> None:
    broken = KeywordSpotter(make_tiny_onnx(tmp_path / "broken.onnx", scale=np.nan))
    with pytest.raises(KwsError, match="broken.onnx gives NaN"):
        broken(burst("yes"))


def test_the_api_and_the_command_have_the_same_defaults() -> None:
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("infer")
    parameters = inspect.signature(KeywordSpotter).parameters
    for name in ("hop_seconds", "top_k", "batch_size"):
        assert parameters[name].default == cfg[name]
