import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from speech_commands_kws.tracking.outbox import Item, Journal, Outbox, StoreAway

PATIENCE_SECONDS = 30
RETRY_SECONDS = 0.01


class Store:
    """Takes two items at a time, unless it is away, or hangs until it is released."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.is_away = False
        self.asked, self.released = Event(), Event()
        self.released.set()

    def deliver(self, items: list[Item]) -> int:
        self.asked.set()
        assert self.released.wait(PATIENCE_SECONDS)
        if self.is_away:
            raise StoreAway("no answer")
        self.items += items[:2]
        return len(items[:2])

    def fault(self) -> str | None:
        return "no answer" if self.is_away or not self.released.is_set() else None


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.released.set()


@pytest.fixture
def open_outbox(tmp_path: Path, store: Store) -> Callable[..., Outbox]:
    def open_one(taker: str = "run") -> Outbox:
        journal = Journal(tmp_path / "outbox.jsonl")
        return Outbox(journal, taker, "there", store.deliver, store.fault, RETRY_SECONDS)

    return open_one


def numbered(*numbers: int) -> list[Item]:
    return [{"number": number} for number in numbers]


def put(outbox: Outbox, *numbers: int) -> None:
    for item in numbered(*numbers):
        outbox.put(item)


def test_items_arrive_in_their_order(open_outbox, store) -> None:
    outbox = open_outbox()
    put(outbox, *range(50))
    assert outbox.close(PATIENCE_SECONDS)
    assert store.items == numbered(*range(50))


def test_a_store_that_hangs_holds_nobody_up(open_outbox, store) -> None:
    store.released.clear()
    outbox = open_outbox()
    put(outbox, 1, 2, 3)
    assert store.asked.wait(PATIENCE_SECONDS)
    put(outbox, 4, 5)
    assert not outbox.close(0.0) and list(outbox.waiting) == numbered(1, 2, 3, 4, 5)
    store.released.set()
    outbox.thread.join(PATIENCE_SECONDS)
    assert len(outbox.waiting) == 5  # after the end nothing counts as delivered


def test_an_outage_is_survived_and_told_once(open_outbox, store, caplog) -> None:
    caplog.set_level(logging.INFO)
    outbox = open_outbox()
    store.is_away = True
    put(outbox, 1, 2, 3)
    for _ in range(3):  # attempts
        store.asked.clear()
        assert store.asked.wait(PATIENCE_SECONDS)
    store.is_away = False
    put(outbox, 4)
    assert outbox.close(PATIENCE_SECONDS) and store.items == numbered(1, 2, 3, 4)
    lost, back = caplog.messages
    assert "there is away (no answer)" in lost and str(outbox.journal.path) in lost
    assert "answers again" in back


def test_the_end_makes_a_last_attempt_at_once(tmp_path, store) -> None:
    outbox = Outbox(Journal(tmp_path / "a"), "run", "there", store.deliver, store.fault, 1000.0)
    store.is_away = True
    put(outbox, 1)
    assert store.asked.wait(PATIENCE_SECONDS)
    while not outbox.away:
        Event().wait(RETRY_SECONDS)
    store.is_away = False
    assert outbox.close(PATIENCE_SECONDS) and store.items == numbered(1)


def test_a_slow_store_is_waited_for(tmp_path) -> None:
    taken: list[Item] = []

    def deliver(items: list[Item]) -> int:
        time.sleep(0.05)
        taken.append(items[0])
        return 1

    outbox = Outbox(Journal(tmp_path / "a"), "run", "there", deliver, lambda: None, RETRY_SECONDS)
    put(outbox, *range(5))
    assert outbox.close(0.01) and taken == numbered(*range(5))


def test_a_store_that_answers_and_takes_nothing_is_given_up(tmp_path) -> None:
    def deliver(_: list[Item]) -> int:
        raise StoreAway("no such run")

    outbox = Outbox(Journal(tmp_path / "a"), "run", "there", deliver, lambda: None, RETRY_SECONDS)
    put(outbox, 1)
    assert not outbox.close(0.1)


def test_what_a_killed_process_left_is_delivered_first(open_outbox, store) -> None:
    killed = open_outbox()
    put(killed, 1, 2)
    with killed.changed:
        assert killed.changed.wait_for(lambda: not killed.waiting, PATIENCE_SECONDS)
    store.released.clear()
    put(killed, 3, 4)
    with killed.journal.path.open("a") as file:
        file.write('\n{"number": 5')  # killed while it wrote
    with killed.changed:
        killed.closed = True  # its thread is gone with it
    store.released.set()
    killed.thread.join(PATIENCE_SECONDS)
    store.items = numbered(1, 2)
    store.released.clear()
    outbox = open_outbox()
    put(outbox, 6)
    store.released.set()
    assert outbox.close(PATIENCE_SECONDS)
    assert store.items == numbered(1, 2, 3, 4, 6)
    assert outbox.journal.items() == numbered(1, 2, 3, 4, 6)


def test_another_run_gets_everything(open_outbox, store) -> None:
    outbox = open_outbox("run")
    put(outbox, 1, 2, 3)
    assert outbox.close(PATIENCE_SECONDS)
    store.items = []
    assert open_outbox("another run").close(PATIENCE_SECONDS)
    assert store.items == numbered(1, 2, 3)


def test_a_failure_that_nobody_foresaw_ends_in_no_endless_wait(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("threading.excepthook", lambda _: None)

    def fail(_: list[Item]) -> int:
        raise ZeroDivisionError

    outbox = Outbox(Journal(tmp_path / "a"), "run", "there", fail, lambda: None, RETRY_SECONDS)
    put(outbox, 1)
    assert not outbox.close(RETRY_SECONDS) and outbox.journal.items() == numbered(1)
