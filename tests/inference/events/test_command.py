import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events.command import EventCommand

EVENT = Event("yes", 12.5, 0.75, 12.25)
NOTHING = np.zeros(0)


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_learns_what_was_heard(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; Path(sys.argv[1]).write_text(' '.join("
        "[*sys.argv[2:], *(os.environ[f'KWS_{name}'] for name in ('KEYWORD', 'TIME', 'SCORE', 'START'))]))"
    )
    told = tmp_path / "told"
    command = EventCommand(python(program, str(told), "{keyword} at {time};", "$HOME {score}"), 4)
    command.hear(NOTHING, [EVENT])
    command.close()
    assert told.read_text() == "yes at 12.5; $HOME 0.75 yes 12.5 0.75 12.25"


def test_nothing_waits_for_a_program_and_only_some_run_at_once(capfd) -> None:
    command = EventCommand(python("import time; time.sleep(60)"), 2)
    begin = time.monotonic()
    command.hear(NOTHING, [EVENT, EVENT, EVENT])
    assert time.monotonic() - begin < 10
    processes = command.running
    assert len(processes) == 2
    # Ctrl-C in the terminal does not reach them.
    assert [os.getsid(process.pid) for process in processes] == [each.pid for each in processes]
    assert (
        f"on_event: {sys.executable} still runs 2 times, passed over yes" in capfd.readouterr().err
    )
    for process in processes:
        process.kill()
        process.wait()
    command.hear(NOTHING, [])
    assert command.running == []
    assert capfd.readouterr().err.count("failed with status -9") == 2


def test_a_failure_is_told_once_and_listening_goes_on(capfd) -> None:
    command = EventCommand(python("print('heard'); raise SystemExit(3)"), 4)
    command.hear(NOTHING, [EVENT])
    until(lambda: command.running[0].poll() is not None)
    command.hear(NOTHING, [])
    command.hear(NOTHING, [])
    command.close()
    output = capfd.readouterr()
    assert output.err.count("failed with status 3") == 1 and "heard\n" in output.err
    assert output.out == ""


@pytest.mark.parametrize("program", ["no/such/program", "nul\0in its name"])
def test_a_program_that_is_not_there_is_told(capsys, program: str) -> None:
    command = EventCommand([program], 4)
    command.hear(NOTHING, [EVENT])
    assert command.running == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("on_event: ") and "cannot be run" in line


@pytest.mark.parametrize("on_event", ["notify", [], [5], {"a": "b"}])
def test_what_is_no_program_is_refused(on_event: object) -> None:
    with pytest.raises(KwsError, match="on_event must be a list of texts"):
        EventCommand(on_event, 4)
