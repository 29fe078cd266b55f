import json
from pathlib import Path

import numpy as np
import soundfile

from speech_commands_kws.evaluation.streaming.matching import Word
from speech_commands_kws.evaluation.streaming.operating_points import scored_stream
from speech_commands_kws.evaluation.streaming.saved import save_events, saved
from speech_commands_kws.evaluation.streaming.streams import Stream
from speech_commands_kws.evaluation.streaming.transcripts import Said
from speech_commands_kws.inference.detector import Detector

WORD = Word("words, clean, 0", "yes", 1.0, 1.5, "clean")
STREAMS = [
    Stream("speech, 0", "speech", np.full(1600, 0.25), [], [Said("no", 0.0, 0.1)]),
    Stream("words, clean, 0", "words", np.full(3200, 0.5), [WORD]),
]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_streams_and_truth_become_files_as_they_are_asked_for(tmp_path: Path) -> None:
    streams = saved(STREAMS, tmp_path, 16_000)
    assert next(streams) is STREAMS[0] and len(list(tmp_path.glob("*.wav"))) == 1
    assert list(streams) == STREAMS[1:]
    waveform, rate = soundfile.read(tmp_path / "words, clean, 0.wav")
    assert (len(waveform), rate) == (3200, 16_000) and abs(waveform[0] - 0.5) < 1e-4
    said = {"stream": "speech, 0", "keyword": "no", "start": 0.0, "end": 0.1}
    word = {"stream": "words, clean, 0", "keyword": "yes", "start": 1.0, "end": 1.5}
    assert lines(tmp_path / "truth.jsonl") == [
        said | {"condition": "said or alike"},
        word | {"condition": "clean"},
    ]


def test_each_event_is_a_line_with_its_stream(tmp_path: Path) -> None:
    detector = Detector(["yes"], 10, {"yes": 0.5}, 0.1, 30, 0, 400, 0)
    rows = np.zeros((100, 1), np.float32)
    rows[20:40] = 0.75
    scored = [scored_stream(stream, rows, np.array([True]), 0.4) for stream in STREAMS]
    save_events(scored, detector, tmp_path)
    found = lines(tmp_path / "events.jsonl")
    assert [row["stream"] for row in found] == ["speech, 0", "words, clean, 0"]
    assert found[0] | {"stream": ""} == found[1] | {"stream": ""}
    assert (found[0]["keyword"], found[0]["score"]) == ("yes", 0.75)
    assert 0.2 <= found[0]["start"] <= found[0]["time"] <= 0.25
