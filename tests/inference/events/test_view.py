import io
from types import SimpleNamespace

import numpy as np
import pytest

from speech_commands_kws.cli.terminal import text_console
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events import view
from speech_commands_kws.inference.events.view import EventView


@pytest.fixture
def ears() -> SimpleNamespace:
    return SimpleNamespace(
        labels=("_silence_", "_unknown_", "yes", "[no]"),
        scores=np.array([0.1, 0.1, 0.5, np.nan], np.float32),
        detector=SimpleNamespace(thresholds={"yes": 0.5, "[no]": 0.5}),
        model=SimpleNamespace(info=SimpleNamespace(sample_rate=16_000)),
    )


def shown(picture: EventView) -> list[str]:
    console = text_console(io.StringIO())
    console.width = 100
    with console.capture() as capture:
        console.print(picture.picture())
    return capture.get().splitlines()


def test_level_scores_events_and_losses_are_shown(ears, monkeypatch) -> None:
    monkeypatch.setattr(view, "REFRESH_SECONDS", 1e9)
    picture = EventView(io.StringIO(), ears, lambda: 1.25)
    for i in range(10):
        picture.hear(np.full(16_000, 0.1, np.float32), [Event("yes", i, 0.9, i)])
    facts, level, yes, no, *events = shown(picture)
    assert facts.startswith("10.0 s heard   1.2 s lost   ") and facts.endswith(" CPU")
    assert level.split()[-2:] == ["-20", "dBFS"] and level.count("█") == pytest.approx(26, abs=1)
    assert yes.split()[0] == "yes" and yes.count("█") == 20 and yes.rstrip().endswith("50.0%")
    assert no.startswith("[no]") and "█" not in no
    assert [line.split()[0] for line in events] == [f"{i}.00" for i in range(2, 10)]
    picture.close()


def test_it_is_drawn_a_few_times_a_second(ears, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        view, "time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: clock[0] / 4)
    )
    picture = EventView(io.StringIO(), ears, lambda: 0.0)
    drawn = []
    monkeypatch.setattr(picture.live, "update", lambda *_, **__: drawn.append(clock[0]))
    for _ in range(200):
        clock[0] += 0.05
        picture.hear(np.zeros(800, np.float32), [])
    assert 40 <= len(drawn) <= 51
    assert picture.cpu_share == pytest.approx(0.25)
    picture.close()
