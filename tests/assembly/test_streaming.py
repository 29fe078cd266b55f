from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from streaming_models import SECONDS, DrawnGate, lively_sound, streaming_file

from speech_commands_kws import KeywordListener
from speech_commands_kws.assembly import run_data, streaming
from speech_commands_kws.assembly.streaming import open_streaming, score_streams
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.streams import Stream
from speech_commands_kws.inference.streaming import StreamingModel

FRAMES = SECONDS * 100


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> StreamingModel:
    return StreamingModel(streaming_file(tmp_path_factory.mktemp("model")))


def test_of_each_stream_the_frames_are_kept_in_which_a_keyword_may_be_heard(model) -> None:
    sound = lively_sound(SECONDS)
    stream = Stream("speech, 0", "speech", sound, [])
    (scored,) = score_streams(model, [stream], floor=0.5)
    rows = model.rows(sound, [FRAMES])
    assert (scored.kind, scored.frames, scored.words) == ("speech", FRAMES, [])
    kept = sum(len(part) for _, part in scored.stretches)
    heard = (rows[:, 2:] >= 0.5).any(axis=1).sum()
    assert heard <= kept < FRAMES
    start, first = scored.stretches[0]
    np.testing.assert_array_equal(first, rows[start : start + len(first)])


def test_what_a_gate_is_closed_for_is_not_heard(model) -> None:
    """The same calls as those of a listener behind the same gate."""
    sound = lively_sound(SECONDS)
    stream = Stream("speech, 0", "speech", sound, [])
    gate = DrawnGate(2)
    (scored,) = score_streams(model, [stream], floor=0.35, gate=gate)
    listener = KeywordListener(model, thresholds=0.5, gate=gate)
    listener(sound)
    rows = np.concatenate(listener.rows)
    assert 0 < scored.closed == (~rows.any(axis=1)).sum() < FRAMES
    for start, part in scored.stretches:
        np.testing.assert_array_equal(part, rows[start : start + len(part)])


def test_a_model_outside_of_its_run_is_refused(tmp_path) -> None:
    cfg = OmegaConf.create({"model": str(streaming_file(tmp_path)), "paths": {"runs": "runs"}})
    with pytest.raises(KwsError, match="expected a model in the folder of its run"):
        open_streaming(cfg)


def test_the_model_of_a_run_is_opened_and_one_without_is_refused(tmp_path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    cfg = OmegaConf.create({"model": None, "run": "one", "paths": {"runs": f"{tmp_path}/runs"}})
    with pytest.raises(KwsError, match=r"model.streaming.onnx, found none: `kws export run=one`"):
        open_streaming(cfg)
    path = streaming_file(run)
    streaming_file(tmp_path / "runs")  # a newer one, of no run
    assert (open_streaming(cfg)[0].model, open_streaming(cfg)[1]) == (path, run)


def test_a_split_without_keywords_is_refused(tmp_path, model, monkeypatch) -> None:
    split = SimpleNamespace(names=["a"], targets=[1], noises={})
    monkeypatch.setattr(run_data, "recorded_split", lambda *_: split)
    monkeypatch.setattr(streaming.runs, "read_config", lambda _: None)
    cfg = OmegaConf.create({"protocol": {}, "split": "test", "input": None})
    with pytest.raises(KwsError, match="expected clips of yes, no in the test split, found none"):
        streaming.streams_of(cfg, model, tmp_path)
