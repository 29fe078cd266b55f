"""What a person sees of a listener: level, scores as bars, the last events, lost sound, CPU."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TextIO

import numpy as np
from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from speech_commands_kws.audio.levels import level_db
from speech_commands_kws.cli.terminal import text_console
from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events.writer import as_text
from speech_commands_kws.inference.listener import KeywordListener

REFRESH_SECONDS, CPU_SECONDS = 0.2, 1.0
LOWEST_DB = -60.0
BAR_WIDTH, MOST_BARS, LAST_EVENTS = 40, 12, 8


class EventView:
    """A picture on a terminal that changes in place.

    Args:
        lost_seconds: tells how much sound was lost so far.
    """

    def __init__(
        self, stream: TextIO, listener: KeywordListener, lost_seconds: Callable[[], float]
    ) -> None:
        self.listener, self.lost_seconds = listener, lost_seconds
        self.last: deque[str] = deque(maxlen=LAST_EVENTS)
        self.power = np.zeros(())
        self.samples = 0
        self.cpu_share, self.cpu_time, self.cpu_since = 0.0, time.process_time(), time.monotonic()
        self.refreshed = -REFRESH_SECONDS
        self.live = Live(console=text_console(stream), auto_refresh=False)
        self.live.start()

    def hear(self, chunk: np.ndarray, events: Sequence[Event]) -> None:
        self.last.extend(map(as_text, events))
        self.samples += len(chunk)
        if len(chunk):
            self.power = np.asarray(np.mean(np.square(chunk)))
        if time.monotonic() >= self.refreshed + REFRESH_SECONDS:
            self.refreshed = time.monotonic()
            self._measure()
            self.live.update(self.picture(), refresh=True)

    def close(self) -> None:
        self.live.update(self.picture(), refresh=True)
        self.live.stop()

    def picture(self) -> RenderableType:
        level = float(level_db(self.power))
        seconds = self.samples / self.listener.model.info.sample_rate
        facts = f"{seconds:.1f} s heard   {self.lost_seconds():.1f} s lost   "
        bars = Table.grid(padding=(0, 1))
        bars.add_row("level", bar((level - LOWEST_DB) / -LOWEST_DB), f"{level:.0f} dBFS")
        labels, thresholds = self.listener.labels, self.listener.detector.thresholds
        for keyword in list(thresholds)[:MOST_BARS]:
            score = float(self.listener.scores[labels.index(keyword)])
            bars.add_row(display_name(keyword), bar(score), f"{score:.1%}")
        return Group(Text(f"{facts}{self.cpu_share:.1%} CPU"), bars, Text("\n".join(self.last)))

    def _measure(self) -> None:
        seconds = time.monotonic() - self.cpu_since
        if seconds >= CPU_SECONDS:
            self.cpu_share = (time.process_time() - self.cpu_time) / seconds
            self.cpu_time, self.cpu_since = time.process_time(), time.monotonic()


def bar(share: float) -> Bar:
    return Bar(1, 0, float(np.clip(np.nan_to_num(share), 0, 1)), width=BAR_WIDTH)
