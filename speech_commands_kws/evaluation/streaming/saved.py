"""Streams, what is said in them and what was heard, as files: another system can be measured on the same."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.evaluation.streaming.operating_points import ScoredStream
from speech_commands_kws.evaluation.streaming.streams import Stream
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.inference.detector import Detector

TRUTH, EVENTS = "truth.jsonl", "events.jsonl"
# In the place of a condition.
SAID = "said or alike"


def saved(streams: Iterable[Stream], folder: Path, sample_rate: int) -> Iterator[Stream]:
    """Write each stream as <stream>.wav when it is asked for, and the truth when all have been.

    The truth is a line `stream, keyword, start, end, condition` for each word. What is said in sound without words has
    the condition SAID, and is somewhere between these times (seconds).
    """
    truth: list[dict[str, Any]] = []
    for stream in streams:
        write_wav(folder / f"{stream.name}.wav", stream.waveform, sample_rate)
        truth += map(asdict, stream.words)
        truth += [
            {"stream": stream.name, **said._asdict(), "condition": SAID} for said in stream.said
        ]
        yield stream
    write_lines(truth, folder / TRUTH)


def save_events(streams: Iterable[ScoredStream], detector: Detector, folder: Path) -> None:
    """Write a line `stream, keyword, time, score, start` for each event of a detector."""
    events = [
        {"stream": stream.name} | asdict(event)
        for stream in streams
        for event in stream.events(detector)
    ]
    write_lines(events, folder / EVENTS)


def write_lines(rows: Iterable[dict[str, Any]], path: Path) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(path, "".join(lines))
