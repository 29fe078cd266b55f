"""A program that is run for each event, while listening goes on."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import check_texts, check_whole
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events.writer import as_mapping

PREFIX = "KWS_"
# How long the programs that still run at the end are waited for; then they go on by themselves.
CLOSE_SECONDS = 5.0


class EventCommand:
    """Runs a program without a shell; nothing waits for it, and each failure is one line on standard error.

    What it prints goes to standard error. Of an event it gets KWS_KEYWORD, KWS_TIME, KWS_SCORE, KWS_START and
    KWS_WALL_TIME in its environment, and {keyword}, {time} and {score} are replaced in its arguments.

    Args:
        on_event: the program and its arguments.
        at_once: so many may run; an event beyond that is passed over, and told.
    """

    def __init__(self, on_event: Sequence[str], at_once: int) -> None:
        check_texts(on_event=on_event)
        check_whole(on_event_at_once=at_once)
        self.on_event, self.at_once = on_event, at_once
        self.running: list[subprocess.Popen[bytes]] = []

    def hear(self, _: np.ndarray, events: Sequence[Event]) -> None:
        self.running = [process for process in self.running if not self._has_ended(process)]
        for event in events:
            if len(self.running) < self.at_once:
                self._run(event)
            else:
                self._complain(f"still runs {self.at_once} times, passed over {event.keyword}")

    def close(self) -> None:
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(CLOSE_SECONDS)
                self._has_ended(process)

    def _run(self, event: Event) -> None:
        facts = {name: str(value) for name, value in as_mapping(event).items()}
        try:
            process = subprocess.Popen(
                [replaced(argument, facts) for argument in self.on_event],
                env=os.environ | {PREFIX + name.upper(): value for name, value in facts.items()},
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,
                # Ctrl-C ends listening, and what was begun goes on.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._complain(f"cannot be run ({error})")
        else:
            self.running.append(process)

    def _has_ended(self, process: subprocess.Popen[bytes]) -> bool:
        status = process.poll()
        if status:
            self._complain(f"failed with status {status}")
        return status is not None

    def _complain(self, reason: str) -> None:
        say(f"on_event: {self.on_event[0]} {reason}")


def replaced(argument: str, facts: dict[str, str]) -> str:
    for name, value in facts.items():
        argument = argument.replace(f"{{{name}}}", value)
    return argument
