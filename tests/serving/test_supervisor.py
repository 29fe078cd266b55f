"""A server that stops answering is started again, however often; what changes is loaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.serving import supervisor as supervisor_module
from speech_commands_kws.serving.supervisor import Supervisor, state_of

WELL, DEAD, SILENT, LOST = "well", "dead", "silent", "lost"
BUSY, STUCK = "busy", "stuck"  # 503: it answers others, or nobody
BROKEN = "broken"  # ended, and cannot be started
PAUSE, LONGEST_PAUSE = 3, 8
REASONS = {WELL: None, LOST: None, BUSY: "503 queue is full", STUCK: "503 queue is full"}


class ScriptedServer:
    """At each probe it is in the next state of the script; `events` is what was done to it."""

    http_url, http_socket = "127.0.0.1:1", Path("/none")

    def __init__(self, script: str) -> None:
        self.script = iter(script.split())
        self.state = WELL
        self.events: list[str] = []
        self.answers = 0

    def start(self, repository: Path, names: list[str]) -> None:
        self.events.append("start")

    def has_ended(self) -> bool:
        return self.state in (DEAD, BROKEN)

    def worker_failed(self) -> bool:
        return self.state == LOST

    def answered(self) -> float:
        self.answers += self.state == BUSY
        return self.answers

    def reload(self, name: str) -> str | None:
        self.events.append(f"reload {name}")

    def stop(self) -> None:
        self.events.append("stop")

    def kill(self) -> None:
        self.events.append("kill")
        if self.state != BROKEN:
            self.state = WELL

    def log_tail(self) -> str:
        return "the end of the log"

    def wait(self, seconds: float) -> None:
        if seconds in (0, PAUSE, 2 * PAUSE, LONGEST_PAUSE):
            self.events += [f"pause-{seconds}"] if seconds else []
            return
        self.state = next(self.script, None)
        if self.state is None:
            raise KeyboardInterrupt


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    yield Supervisor(
        every_seconds=1,
        timeout_seconds=1,
        failures=2,
        probes=4,
        pause_seconds=PAUSE,
        longest_pause_seconds=LONGEST_PAUSE,
        start_seconds=1,
    )


def supervised(
    supervisor: Supervisor, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> list[str]:
    monkeypatch.setattr(
        supervisor_module, "fault", lambda *_: REASONS.get(server.state, "no answer")
    )
    said: list[str] = []
    supervisor.run(server, folder, ["kws_onnx"], said.append, server.wait)
    return said


@pytest.mark.parametrize(
    ("script", "events"),
    [
        ("well well", "start stop"),
        ("silent well", "start stop"),  # once is not enough
        ("silent silent well", "start kill start stop"),
        ("dead well", "start kill start stop"),  # an end is
        (
            "well lost well",
            "start kill start stop",
        ),  # and that of a backend, though another answers
        ("silent well well well silent well", "start stop"),
        ("silent well silent well", "start kill start stop"),  # one of two instances has died
        ("busy busy busy busy well", "start stop"),  # with others
        ("busy stuck stuck well", "start kill start stop"),  # with nobody
        ("dead well dead well dead well", "start kill start kill start kill start stop"),
        (
            "dead dead dead dead dead well dead well",  # never given up
            "start kill start kill pause-3 start kill pause-6 start kill pause-8 start kill pause-8 start "
            "kill start stop",
        ),
        (
            "broken broken well",
            "start kill start kill pause-3 start stop",
        ),  # nor is one that does not start
    ],
)
def test_what_is_done(
    supervisor: Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    events: str,
) -> None:
    server = ScriptedServer(script)
    said = supervised(supervisor, server, monkeypatch, tmp_path)
    assert server.events == events.split()
    assert supervisor.restarted == events.count("kill")
    assert said[0].startswith("serving kws_onnx at http://127.0.0.1:1") and said[-1] == "stopping"


@pytest.mark.parametrize(("state", "complaint"), [(DEAD, "the end of the log"), (SILENT, "in 1 s")])
def test_a_server_that_does_not_start_is_one_line(
    supervisor: Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    state: str,
    complaint: str,
) -> None:
    server = ScriptedServer(" ".join([state] * 9))
    server.state = state
    with pytest.raises(KwsError, match=complaint):
        supervised(supervisor, server, monkeypatch, tmp_path)
    assert server.events == ["start", "stop"]


def test_a_new_version_is_loaded_once_it_has_stayed_the_same(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = ScriptedServer("well well well well well")
    probes = 0

    def wait(seconds: float) -> None:
        nonlocal probes
        probes += 1
        if probes in (2, 3):  # still being written at the second probe
            version = tmp_path / "kws_onnx" / "2"
            version.mkdir(parents=True, exist_ok=True)
            (version / "model.onnx").write_bytes(b"x" * probes)
            assert "reload kws_onnx" not in server.events
        ScriptedServer.wait(server, seconds)

    monkeypatch.setattr(server, "wait", wait)
    said = supervised(supervisor, server, monkeypatch, tmp_path)
    assert server.events == ["start", "reload kws_onnx", "stop"]
    assert said[1] == "kws_onnx: loaded what has changed"


def test_the_state_of_a_model_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    states = {state_of(tmp_path)}
    for name in ("config.pbtxt", "labels.txt", "1/model.onnx"):
        (tmp_path / name).write_text("x")
        states.add(state_of(tmp_path))
    (tmp_path / "1/model.onnx").write_text("longer")
    states.add(state_of(tmp_path))
    assert len(states) == 5


def test_a_version_that_goes_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "versions_of", lambda _: [1, 2])
    assert [name for name, *_ in state_of(tmp_path)]


def test_a_moment_to_start_in_is_one_probe(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    supervisor.start_seconds = 0.01
    assert supervised(supervisor, ScriptedServer(""), monkeypatch, tmp_path)[-1] == "stopping"
