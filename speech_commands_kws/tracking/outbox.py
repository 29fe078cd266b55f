"""Records on their way to a store that may stop answering: nobody waits for it, and nothing is lost."""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Condition, Thread
from typing import Any

LOG = logging.getLogger(__name__)
TAKEN, TAKER = "taken", "taker"

Item = dict[str, Any]


class StoreAway(Exception):
    """The store cannot take records now; later it may."""


class Journal:
    """All items in a file, one JSON line each, between them marks of how many a store has taken.

    A line begins with its line break, so that one that a killed process left unfinished spoils no other.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, line: Item) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(line))

    def mark(self, taker: str, taken: int) -> None:
        """Remember that the store's run `taker` has the first `taken` items."""
        self.append({TAKEN: taken, TAKER: taker})

    def items(self) -> list[Item]:
        return [line for line in self._lines() if TAKER not in line]

    def waiting(self, taker: str) -> list[Item]:
        """The items that the run `taker` does not have yet."""
        marks = [line[TAKEN] for line in self._lines() if line.get(TAKER) == taker]
        return self.items()[max(marks, default=0) :]

    def _lines(self) -> Iterable[Item]:
        text = self.path.read_text("utf-8") if self.path.is_file() else ""
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # empty, or cut off when its process was killed
                continue


class Outbox:
    """Delivers items in their order from a thread of its own; what waits lies in a file that outlives the process.

    An item may be delivered twice, when a store dies while it takes it: delivery must be such that this is harmless.

    Args:
        journal: all items of the run; those that an earlier process left are delivered first.
        taker: the store's name of the run.
        address: of the store, for the log.
        deliver: takes the first item, or several, of a list and returns how many. Raises StoreAway.
        fault: why the store does not answer, or None; returns soon.
        retry_seconds: pause before a store that was away is asked again.
    """

    def __init__(
        self,
        journal: Journal,
        taker: str,
        address: str,
        deliver: Callable[[list[Item]], int],
        fault: Callable[[], str | None],
        retry_seconds: float,
    ):
        self.journal, self.taker, self.address = journal, taker, address
        self.deliver, self.fault, self.retry_seconds = deliver, fault, retry_seconds
        items = journal.items()
        self.waiting = deque(journal.waiting(taker))
        self.taken = len(items) - len(self.waiting)
        self.away = False
        self.closing = self.closed = False
        self.last_failures = 0  # of attempts since the end began
        self.changed = Condition()
        self.thread = Thread(target=self._run, name="outbox", daemon=True)
        self.thread.start()

    def put(self, item: Item) -> None:
        """Returns at once."""
        with self.changed:
            self.journal.append(item)
            self.waiting.append(item)
            self.changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Wait until all is delivered, as long as the store answers, or `seconds` where it is away.

        Returns whether all is delivered; nothing is after this.
        """
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            taken = self.taken
            while not self.changed.wait_for(lambda: not self.waiting, seconds):
                if self.taken == taken and self._is_hopeless():
                    break
                taken = self.taken
            self.closed = True
            self.changed.notify_all()
            return not self.waiting

    def _is_hopeless(self) -> bool:
        """Also a store that answers may refuse to take anything, and an attempt may have begun before it came back."""
        return not self.thread.is_alive() or self.last_failures > 1 or self.fault() is not None

    def _run(self) -> None:
        while items := self._next():
            try:
                count = self.deliver(items)
            except StoreAway as reason:
                self._lost(reason)
            else:
                self._delivered(count)

    def _next(self) -> list[Item]:
        """The items that wait, as soon as there are any and the store may be asked; none when all is over."""
        with self.changed:
            if self.away:
                was_closing = self.closing  # a last attempt is made at once
                self.changed.wait_for(
                    lambda: self.closed or self.closing > was_closing, self.retry_seconds
                )
            self.changed.wait_for(lambda: self.closed or self.waiting)
            return [] if self.closed else list(self.waiting)

    def _delivered(self, count: int) -> None:
        with self.changed:
            if self.closed:
                return
            if self.away:
                LOG.info("MLflow at %s answers again and gets what has waited", self.address)
            self.away = False
            for _ in range(count):
                self.waiting.popleft()
            self.taken += count
            self.journal.mark(self.taker, self.taken)
            self.changed.notify_all()

    def _lost(self, reason: StoreAway) -> None:
        with self.changed:
            if not self.away and not self.closed:
                LOG.warning(
                    "MLflow at %s is away (%s): the training goes on, its records wait in %s",
                    self.address,
                    reason,
                    self.journal.path,
                )
            self.away = True
            self.last_failures += self.closing
