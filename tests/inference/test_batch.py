from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, TINY_METADATA, burst
from streaming_models import DETECTOR, SECONDS, lively_sound, streaming_file

from speech_commands_kws import KeywordListener, KeywordSpotter
from speech_commands_kws.inference.batch import BatchInference, ListeningInference

SETTINGS = {"threshold": 0.5} | {key: DETECTOR[key] for key in DETECTOR if key != "thresholds"}


def long_recording(path: Path, *words: str) -> Path:
    """Each word fills a second, in a quarter of it; a second of silence lies around it."""
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    sound = [quiet, *(part for word in words for part in (burst(word), quiet))]
    soundfile.write(path, np.concatenate(sound), SAMPLE_RATE)
    return path


def test_windows_of_several_recordings_share_batches_and_keep_their_order(
    tiny_onnx: Path, burst_wav: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(burst_wav(f"{i}.wav", word)) for i, word in enumerate(("yes", "no", "yes"))]
    inference = BatchInference(KeywordSpotter(tiny_onnx, batch_size=2), SETTINGS)
    found = list(inference.predictions([names[0], "nowhere.wav", *names[1:]]))
    assert [Path(name).name for name, _ in found] == ["0.wav", "1.wav", "2.wav"]
    assert [prediction.label for _, prediction in found] == ["yes", "no", "yes"]
    assert (inference.scored, inference.recordings.failures) == (3, 1)
    assert "error: nowhere.wav" in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_of_long_recordings_each_keyword_is_one_event(
    tiny_onnx: Path, burst_wav: Callable, tmp_path: Path, batch_size: int
) -> None:
    """A burst in the third quarter of a window is a "yes": here it begins at 1.5 s, so the window begins at 1 s."""
    names = [
        burst_wav("short.wav", "_unknown_"),
        long_recording(tmp_path / "long.wav", "yes", "_silence_"),
        long_recording(tmp_path / "quiet.wav"),
        long_recording(tmp_path / "quieter.wav"),
    ]
    soundfile.write(names[2], np.zeros(3 * SAMPLE_RATE), SAMPLE_RATE)
    inference = BatchInference(
        KeywordSpotter(tiny_onnx, hop_seconds=1.0, batch_size=batch_size), SETTINGS
    )
    found = [
        (Path(name).name, heard and (heard.label, heard.start_seconds, heard.end_seconds))
        for name, heard in inference.events(map(str, names))
    ]
    assert found == [
        ("short.wav", ("_unknown_", 0.0, 1.0)),
        ("long.wav", ("yes", 1.0, 2.0)),
        ("quiet.wav", None),
        ("quieter.wav", ("_silence_", 0.0, 1.0)),
    ]
    assert inference.long == 2


def test_a_word_that_is_heard_in_many_windows_is_one_event(tiny_onnx: Path, tmp_path: Path) -> None:
    """A burst of a quarter of a second is in the third quarter of several windows, and in others of another word."""
    name = str(long_recording(tmp_path / "long.wav", "no", "_unknown_", "_unknown_", "no"))
    spotter = KeywordSpotter(tiny_onnx, hop_seconds=0.0625)
    inference = BatchInference(spotter, SETTINGS)
    counted = [heard.label for _, heard in inference.predictions([name])]
    heard = [heard for _, heard in inference.events([name])]
    assert sum(label in ("yes", "no") for label in counted) > 4 * len(heard)
    assert len(heard) == 4


def test_a_keyword_in_the_last_window_is_heard(tiny_onnx: Path, tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(SAMPLE_RATE * 5 // 4, np.float32), burst("no")])
    soundfile.write(tmp_path / "end.wav", sound, SAMPLE_RATE)
    inference = BatchInference(KeywordSpotter(tiny_onnx, hop_seconds=0.5), SETTINGS)
    *_, (_, last) = inference.events([str(tmp_path / "end.wav")])
    assert (last.label, last.start_seconds, last.end_seconds) == ("no", 1.25, 2.25)


def test_the_threshold_is_that_of_the_file(make_tiny_onnx: Callable, tmp_path: Path) -> None:
    name = str(long_recording(tmp_path / "long.wav", "yes"))
    for threshold, count in ((0.7, 1), (0.9, 0), (0.0, 1), (1e-6, 1)):
        metadata = TINY_METADATA | {"detection": f'{{"threshold": {threshold}}}'}
        model = make_tiny_onnx(tmp_path / "model.onnx", metadata)
        inference = BatchInference(KeywordSpotter(model, hop_seconds=1.0), SETTINGS)
        assert sum(heard is not None for _, heard in inference.events([name])) == count


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("has_spotter", [True, False])
def test_a_listener_hears_long_recordings(
    tiny_onnx: Path, model: Path, burst_wav: Callable, tmp_path: Path, has_spotter: bool
) -> None:
    sound = lively_sound(SECONDS)
    soundfile.write(tmp_path / "long.wav", sound, SAMPLE_RATE, "FLOAT")
    listener = KeywordListener(model, thresholds=0.35)
    expected = [*listener(sound), *listener.finish()]
    short = str(burst_wav("short.wav", "yes"))
    spotter = KeywordSpotter(tiny_onnx) if has_spotter else None
    inference = ListeningInference(listener, spotter)
    long = str(tmp_path / "long.wav")
    found = list(inference.events([long, "nowhere.wav", long, short]))
    heard = [
        (heard.label, heard.start_seconds, heard.end_seconds, heard.probability)
        for name, heard in found
        if name == long
    ]
    events = [(event.keyword, event.start, event.time, event.score) for event in expected]
    assert len(events) >= 2 and heard == events * 2
    assert inference.recordings.failures == 1
    if has_spotter:
        (answer,) = (heard for name, heard in found if name == short)
        assert (answer.label, answer.end_seconds, inference.long) == ("yes", 1.0, 2)
    else:
        assert inference.long == 3


def test_a_listener_says_what_it_was_measured_to_miss(tiny_onnx: Path, model: Path) -> None:
    alone, beside = (
        ListeningInference(KeywordListener(model), spotter)
        for spotter in (None, KeywordSpotter(tiny_onnx))
    )
    assert alone.note.endswith("model.streaming.onnx hears.")
    assert beside.note.endswith("model.streaming.onnx hears. windows=true lists every window.")
    point = {
        "wanted_per_hour": 1,
        "split": "test",
        "misses": {"miss_rate": 0.1, "words": 50, "interval_95": [0.04, 0.21]},
        "misses_by_condition": {},
        "false_alarms": {"per_hour": 0.5, "limit_95": 2.4, "alarms": 1, "hours": 2.0},
        "false_alarms_by_kind": {},
        "latency_seconds": {"median": None},
    }
    info = alone.listener.model.info
    alone.listener.model.info = replace(info, operating_points=point)
    assert "Measured: 10.0% of 50 words" in alone.note
    assert "missed; false alarms: 0.50 an hour, below 2.40 with 95% confidence" in alone.note
