"""The whole command: files, pipes and a microphone, in this process or, where signals and pipes matter, in its own."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, SAMPLE_RATE
from streaming_models import lively_sound, streaming_file

from speech_commands_kws import KeywordListener
from speech_commands_kws.audio.microphone import MicrophoneStream
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.packaging.onnx_export import write_metadata

SECONDS = 12
LOW = "thresholds=0.35"  # which the untrained model reaches
SUMMARY = "s heard in"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def expected(model: Path) -> list[tuple[str, float]]:
    listener = KeywordListener(model, thresholds=0.35)
    events = [*listener(integers() / np.float32(2**15)), *listener.finish()]
    assert len(events) >= 6 and {event.keyword for event in events} == {"yes", "no"}
    return [(event.keyword, round(event.time, 2)) for event in events]


def integers(rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.round(lively_sound(SECONDS, rate) * 32767).astype("<i2")


def events_of(text: str) -> list[tuple[str, float]]:
    """Of lines of text or of JSON."""
    events = []
    for line in text.splitlines():
        if line.startswith("{"):
            facts = json.loads(line)
            events.append((facts["keyword"], round(facts["time"], 2)))
        else:
            at, _, _, keyword = line.split()
            events.append((keyword, float(at)))
    return events


@pytest.fixture
def listen(model, tmp_path, monkeypatch, type_kws) -> Callable[..., SimpleNamespace]:
    """Runs `kws listen` in `tmp_path`, where talk.wav lies."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", integers(), SAMPLE_RATE)

    def run(*arguments: str) -> SimpleNamespace:
        done = type_kws("listen", f"model={model}", LOW, "speed=0", *arguments)
        return SimpleNamespace(status=done.status, out=done.out, lines=done.err.splitlines())

    return run


def test_a_file_gives_its_events_and_a_summary(listen, expected) -> None:
    done = listen("talk.wav")
    assert done.status == 0 and events_of(done.out) == expected
    (line,) = done.lines
    assert line.startswith("12.0 s heard in ") and line.endswith(f", {len(expected)} events")
    assert 0 < float(line.split("factor ")[1].split(")")[0]) < 1
    assert events_of(listen("talk.wav", "format=json", "call_ms=250").out) == expected


def test_another_rate_and_another_channel_count_are_converted(listen, expected) -> None:
    soundfile.write("wide.flac", np.tile(integers()[:, None], 2), SAMPLE_RATE)
    assert events_of(listen("wide.flac").out) == expected
    soundfile.write("fast.wav", integers(48_000), 48_000)
    assert len(events_of(listen("fast.wav").out)) >= 6


def test_behind_a_gate_the_loud_parts_are_heard(listen, expected) -> None:
    """Of the sound every other second is 40 dB quieter; the gate stays open for 0.3 s of it.

    The first second is all that has been heard, and so the background.
    """
    loud = [(keyword, time) for keyword, time in expected if time > 1 and time % 2 < 1.2]
    given = "talk.wav", "gate=energy", "gate.hold_seconds=0.3"
    assert loud and set(loud) <= set(events_of(listen(*given).out))
    assert events_of(listen(*given, "gate.above_db=200").out) == []


def test_thresholds_of_each_keyword_may_be_given(listen) -> None:
    done = listen("talk.wav", "thresholds={yes: 0.35, no: 1.0}")
    assert {keyword for keyword, _ in events_of(done.out)} == {"yes"}


def test_the_newest_export_listens(listen, model, expected, tmp_path) -> None:
    nothing = listen("talk.wav", "model=null")
    assert nothing.status == 1
    assert "`kws train backbone=bc_resnet_streaming`, `kws export`" in nothing.lines[-1]
    export = tmp_path / "plots" / "runs" / "2026-01-01_first" / "model.streaming.onnx"
    export.parent.mkdir(parents=True)
    export.write_bytes(model.read_bytes())
    done = listen("talk.wav", "model=null")
    assert events_of(done.out) == expected
    assert done.lines[0].startswith(f"model: {export.relative_to(tmp_path)}, exported 20")


def test_programs_are_run_and_clips_are_kept(listen, expected, tmp_path) -> None:
    program = f'[{sys.executable},-c,"import sys; open(sys.argv[1], \'a\').write(sys.argv[2])",told,"{{keyword}} "]'
    done = listen("talk.wav", f"on_event={program}", "on_event_at_once=100", "save=kept")
    assert done.status == 0 and [line for line in done.lines if SUMMARY not in line] == []
    assert sorted((tmp_path / "told").read_text().split()) == sorted(word for word, _ in expected)
    clips = [path.parent.name for path in (tmp_path / "kept").rglob("heard_nohash_*.wav")]
    assert sorted(clips) == sorted(keyword for keyword, _ in expected)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.wav"], "nowhere.wav does not exist"),
        (["."], "Is a directory"),
        (["talk.wav", "model=talk.wav"], "talk.wav is not an ONNX model"),
        (["talk.wav", "format=xml"], "format must be one of auto, text, json, view, got xml"),
        (["talk.wav", "thresholds={maybe: 0.5}"], "must be one of yes, no, got maybe"),
        (["talk.wav", "thresholds=high"], "thresholds.yes must be a number from 0 to 1"),
        (["talk.wav", "call_ms=0"], "call_ms must be a number above 0, got 0"),
        (
            ["talk.wav", "gate=energy", "gate.above_db=0"],
            "above_db must be a number above 0, got 0",
        ),
        (["talk.wav", "speed=-1"], "speed must be a number of 0 or more, got -1"),
        (["talk.wav", "on_event=beep"], "on_event must be a list of texts"),
        (["talk.wav", "save=kept", "near_miss=2"], "near_miss must be a number from 0 to 1"),
        (["talk.wav", "other.wav"], "takes one input, got 2"),
        (["talk.wav", "url=ws://127.0.0.1:1"], "url must be host:port, such as 127.0.0.1:8000"),
        (["talk.wav", "url=grpc://127.0.0.1:1"], "no Triton server answers at 127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_line(listen, arguments, complaint) -> None:
    done = listen(*arguments)
    assert done.status in (1, 2) and done.out == ""
    (line,) = done.lines
    assert complaint in line


def test_a_model_for_clips_says_what_listens(listen, tiny_onnx) -> None:
    (line,) = listen("talk.wav", f"model={tiny_onnx}").lines
    assert "answers for clips" in line and "model.streaming.onnx" in line


def test_infer_hears_the_same_events(answer, model, expected) -> None:
    soundfile.write("talk.wav", integers(), SAMPLE_RATE)
    low = KeywordListener(model).detector.settings() | {"thresholds": {"yes": 0.35, "no": 0.35}}
    settled = Path("model.streaming.onnx")
    settled.write_bytes(model.read_bytes())
    write_metadata(replace(StreamingModel(model).info, detector=low), settled)
    done = answer("talk.wav", f"model={settled}", "format=json")
    heard = [(each["label"], round(each["end_seconds"], 2)) for each in json.loads(done.output)]
    assert heard == expected


def test_a_microphone_is_listened_to_until_ctrl_c(listen, expected, monkeypatch) -> None:
    """The stand-in hears the sound, and then Ctrl-C is pressed."""
    closed = []

    def heard(self):
        yield from np.split(integers() / np.float32(2**15), SECONDS * SAMPLE_RATE // 800)
        self.lost_seconds = 2.5
        raise KeyboardInterrupt

    monkeypatch.setattr(
        MicrophoneStream, "__init__", lambda self, rate, device, queue_seconds: None
    )
    monkeypatch.setattr(MicrophoneStream, "__iter__", heard)
    monkeypatch.setattr(MicrophoneStream, "close", lambda self: closed.append(True))
    done = listen("microphone.device=usb")
    assert done.status == 130 and closed == [True]
    assert events_of(done.out) == expected[: len(events_of(done.out))]
    assert len(events_of(done.out)) >= len(expected) - 1
    assert done.lines[0].startswith("12.0 s heard in ") and done.lines[0].endswith("2.5 s lost")
    assert done.lines[1:] == ["error: interrupted"]


# In a process of its own


def start(model: Path, *arguments: str, folder: Path, **streams) -> subprocess.Popen[bytes]:
    program = "import sys; from speech_commands_kws.commands import main; sys.exit(main())"
    given = [sys.executable, "-c", program, "listen", f"model={model}", LOW, *arguments]
    return subprocess.Popen(
        given,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        bufsize=0,  # what a buffer holds after a line, communicate() does not see
        **{"stdout": subprocess.PIPE, **streams},
    )


def test_an_event_of_a_pipe_is_told_while_the_pipe_is_open(model, expected, tmp_path) -> None:
    process = start(model, "-", "format=json", "rate=16000", folder=tmp_path, stdin=subprocess.PIPE)
    try:
        half = integers()[: SECONDS * SAMPLE_RATE // 2].tobytes()
        # An odd number of bytes, and then silence on the line.
        process.stdin.write(half[:-1])
        process.stdin.flush()
        first = process.stdout.readline()
        assert events_of(first.decode()) == expected[:1]
        rest = integers()[SECONDS * SAMPLE_RATE // 2 :].tobytes()
        output, errors = process.communicate(half[-1:] + rest, timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert events_of((first + output).decode()) == expected
    assert SUMMARY in errors.decode()


def test_a_reader_that_has_seen_enough_ends_it_quietly(model, expected, tmp_path) -> None:
    (tmp_path / "talk.raw").write_bytes(integers().tobytes())
    with (tmp_path / "talk.raw").open("rb") as sound:
        listening = start(model, "-", folder=tmp_path, stdin=sound)
    head = subprocess.run(["head", "-1"], stdin=listening.stdout, capture_output=True, text=True)
    listening.stdout.close()
    assert events_of(head.stdout) == expected[:1]
    assert listening.wait(60) == 0
    (line,) = listening.stderr.read().decode().splitlines()
    assert SUMMARY in line
    listening.stderr.close()


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs pipes of a chosen size")
def test_a_slow_reader_loses_nothing_of_a_pipe(model, expected, tmp_path) -> None:
    """More events than the pipe holds wait for a reader that sleeps."""
    repeats, pipe_bytes = 5, 4096
    (tmp_path / "long.raw").write_bytes(np.tile(integers(), repeats).tobytes())
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, pipe_bytes)
    with (tmp_path / "long.raw").open("rb") as stream, os.fdopen(writing, "wb") as output:
        listening = start(model, "-", "format=json", folder=tmp_path, stdin=stream, stdout=output)
    with os.fdopen(reading, "rb") as answers:
        select.select([answers], [], [], 60)
        time.sleep(2)
        assert listening.poll() is None
        output = answers.read()
    assert listening.wait(60) == 0 and len(output) > pipe_bytes
    found, errors = events_of(output.decode()), listening.communicate()[1].decode()
    assert found[: len(expected) - 1] == expected[: len(expected) - 1]
    assert "60.0 s heard in" in errors and f" {len(found)} events" in errors


def test_ctrl_c_ends_a_file_at_the_pace_of_its_sound(model, expected, tmp_path) -> None:
    soundfile.write(tmp_path / "talk.wav", integers(), SAMPLE_RATE)
    listening = start(model, "talk.wav", folder=tmp_path)
    first = listening.stdout.readline().decode()
    listening.send_signal(signal.SIGINT)
    output, errors = listening.communicate(timeout=60)
    assert events_of(first) == expected[:1]
    assert len(events_of(output.decode())) < len(expected) - 1
    assert listening.returncode == 130
    assert errors.decode().splitlines()[-1] == "error: interrupted"
