"""Events as lines, written as they come: text to read, or JSON for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

import numpy as np

from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.detector import Event

DECIMALS = 6


class EventWriter:
    """One line an event on `stream`, flushed at once."""

    def __init__(self, stream: TextIO, as_json: bool = False) -> None:
        self.stream = stream
        self.as_json = as_json

    def hear(self, _: np.ndarray, events: Sequence[Event]) -> None:
        for event in events:
            line = json.dumps(as_mapping(event)) if self.as_json else as_text(event)
            self.stream.write(f"{line}\n")
            self.stream.flush()

    def close(self) -> None:
        """The stream is not of its own."""


def as_text(event: Event) -> str:
    return f"{event.time:9.2f} s  {event.score:6.1%}  {display_name(event.keyword)}"


def as_mapping(event: Event) -> dict[str, Any]:
    """JSON-able facts; `wall_time` is now, local, with its offset."""
    return {
        "keyword": event.keyword,
        "time": round(event.time, DECIMALS),
        "score": round(event.score, DECIMALS),
        "start": round(event.start, DECIMALS),
        "wall_time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
    }
