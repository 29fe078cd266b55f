import io
import json
from datetime import datetime, timedelta

import numpy as np

from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events.writer import EventWriter

EVENTS = [Event("yes", 12.34, 0.98765432, 12.1), Event("n\x1bo", 3600.5, 0.5, 3600.25)]


class Flushed(io.StringIO):
    """Keeps what was there when it was flushed."""

    flushes: tuple[str, ...] = ()

    def flush(self) -> None:
        self.flushes += (self.getvalue(),)


def test_text_is_a_line_an_event_flushed_at_once() -> None:
    stream = Flushed()
    EventWriter(stream).hear(np.zeros(3), EVENTS)
    lines = "    12.34 s   98.8%  yes\n", "  3600.50 s   50.0%  n\\x1bo\n"
    assert stream.flushes == (lines[0], lines[0] + lines[1])


def test_json_is_an_object_a_line_with_the_time_of_the_wall() -> None:
    stream = Flushed()
    EventWriter(stream, as_json=True).hear(np.zeros(3), EVENTS[:1])
    (line,) = stream.flushes[0].splitlines()
    facts = json.loads(line)
    heard = datetime.fromisoformat(facts.pop("wall_time"))
    assert abs(datetime.now().astimezone() - heard) < timedelta(minutes=1)
    assert facts == {"keyword": "yes", "time": 12.34, "score": 0.987654, "start": 12.1}
