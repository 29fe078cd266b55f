"""The command that answers: formats, settings, memory, start-up time, what it leaves behind."""

import csv
import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPOSITORY, SAMPLE_RATE, TINY_METADATA, burst, module_command
from streaming_models import lively_sound, streaming_file

from speech_commands_kws import KeywordListener

MEBIBYTE = 2**20


def test_files_folders_and_patterns_in_one_call(answer: Callable, burst_wav: Callable) -> None:
    burst_wav("one.wav", "yes", 44_100, channels=2)
    burst_wav("folder/two.flac", "no", 8_000)
    burst_wav("folder/deep/three.ogg", "_unknown_")
    burst_wav("more/four.aiff", "yes", 22_050)
    burst_wav("more/five.wav", "no")
    outcome = answer("one.wav", "folder", "more/f*.a*")
    assert outcome.status == 0
    assert outcome.complaints == []
    assert outcome.heard == {
        "one.wav": ["yes"],
        "two.flac": ["no"],
        "three.ogg": ["_unknown_"],
        "four.aiff": ["yes"],
    }
    # In the order of the names, and of the files below each.
    assert list(outcome.heard) == ["one.wav", "two.flac", "three.ogg", "four.aiff"]


def test_json_and_table(answer: Callable, burst_wav: Callable) -> None:
    burst_wav("yes.wav", "yes")
    (answered,) = json.loads(answer("yes.wav", "format=json", "top_k=2").output)
    assert answered["file"] == "yes.wav"
    assert answered["label"] == "yes"
    assert answered["probability"] == pytest.approx(0.8024, abs=1e-3)
    assert len(answered["keywords"]) == 2
    table = answer("yes.wav", "format=table").output
    assert "yes.wav" in table and "80.2%" in table


def test_a_long_recording_has_time_stamps(answer: Callable, tmp_path: Path) -> None:
    waveform = np.concatenate([np.zeros(2 * SAMPLE_RATE, np.float32), burst("yes", seconds=1.5)])
    soundfile.write(tmp_path / "long.wav", waveform, SAMPLE_RATE)
    rows = list(
        csv.DictReader(io.StringIO(answer("long.wav", "hop_seconds=0.5", "windows=true").output))
    )
    assert [row["start_seconds"] for row in rows] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
    heard = [row["label"] for row in rows if float(row["probability"]) > 0.5]
    assert heard == ["yes", "_silence_"]


@pytest.fixture
def long_wav(tmp_path: Path) -> Path:
    """A "yes" between two seconds of silence, and one of them is digital."""
    parts = [np.zeros(SAMPLE_RATE, np.float32), burst("yes"), np.zeros(SAMPLE_RATE, np.float32)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), SAMPLE_RATE)
    return tmp_path / "long.wav"


def test_of_a_long_recording_the_keywords_are_listed(
    make_tiny_onnx: Callable, answer: Callable, long_wav: Path, tmp_path: Path
) -> None:
    settings = {"threshold": 0.7, "recall": 0.62, "false_alarms_per_clip": 0.01, "hop_seconds": 1.0}
    model = make_tiny_onnx(
        tmp_path / "settled.onnx", TINY_METADATA | {"detection": json.dumps(settings)}
    )
    heard = json.loads(answer("long.wav", f"model={model}", "format=json").output)
    assert [(each["label"], each["start_seconds"], each["end_seconds"]) for each in heard] == [
        ("yes", 1.0, 2.0)
    ]
    table = " ".join(answer("long.wav", f"model={model}", "format=table").output.split())
    assert "long.wav 1.00 s yes 80.2% Of long recordings the keywords are listed" in table
    assert "finds 62.0% of the keywords" in table and "A streaming model" in table
    every = answer("long.wav", f"model={model}", "format=table", "windows=true").output
    assert every.count("long.wav") == 3 and "streaming model" not in every


def test_the_streaming_model_beside_hears_the_events(
    tiny_onnx: Path, answer: Callable, burst_wav: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(tiny_onnx, folder / "model.onnx")
    listener = KeywordListener(streaming_file(folder))
    sound = lively_sound(12)
    soundfile.write(tmp_path / "talk.wav", sound, SAMPLE_RATE, "FLOAT")
    events = [*listener(sound), *listener.finish()]
    assert len(events) >= 2
    burst_wav("yes.wav", "yes")
    arguments = "talk.wav", "yes.wav", f"model={folder}/model.onnx"
    outcome = answer(*arguments)
    assert outcome.heard == {
        "talk.wav": [event.keyword for event in events],
        "yes.wav": ["yes"],
    }
    table = " ".join(answer(*arguments, "format=table").output.split())
    assert "run/model.streaming.onnx hears. windows=true" in table
    assert len(answer(*arguments, "windows=true").heard["talk.wav"]) == 45
    alone = answer("talk.wav", f"model={folder}/model.streaming.onnx")
    assert alone.heard == {"talk.wav": [event.keyword for event in events]}
    refused = answer("talk.wav", f"model={folder}/model.streaming.onnx", "windows=true")
    assert refused.status == 1 and "listens to a stream" in refused.complaints[0]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_do_not_mix_up_the_answers(
    answer: Callable, burst_wav: Callable, batch_size: int
) -> None:
    keywords = ["yes", "no", "_unknown_", "no", "yes", "_silence_", "yes"]
    for i, keyword in enumerate(keywords):
        burst_wav(f"clips/{i}.wav", keyword)
    outcome = answer("clips", f"batch_size={batch_size}")
    assert outcome.heard == {f"{i}.wav": [keyword] for i, keyword in enumerate(keywords)}


def test_the_newest_export_answers(
    tiny_onnx: Path, answer: Callable, burst_wav: Callable, tmp_path: Path
) -> None:
    burst_wav("yes.wav", "yes")
    nothing = answer("yes.wav", "model=null")
    assert nothing.status == 1
    (complaint,) = nothing.complaints
    assert "train and export first" in complaint
    export = tmp_path / "plots" / "runs" / "2026-01-01_first" / "model.onnx"
    export.parent.mkdir(parents=True)
    shutil.copy(tiny_onnx, export)
    outcome = answer("yes.wav", "model=null")
    assert outcome.heard == {"yes.wav": ["yes"]}
    (chosen,) = outcome.complaints
    assert chosen.startswith(f"model: {export.relative_to(tmp_path)}, exported 20")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "nothing to listen to"),
        (["a.wav", "format=xml"], "format must be one of table, json, csv, got xml"),
        (["a.wav", "top_k=0"], "top_k must be a whole number of 1 or more, got 0"),
        (
            ["a.wav", "batch_size=1.5"],
            "batch_size must be a whole number of 1 or more, got 1.5",
        ),
        (["a.wav", "hop_seconds=nan"], "hop_seconds must be a number from 6.25e-05 to 1.0"),
        (["a.wav", "backend.intra_threads=-1"], "intra_threads must be a whole number from 0"),
        (["a.wav", "model=5"], "5 does not exist"),
        (["a.wav", "hop_seconds=2"], "hop_seconds must be a number from 6.25e-05 to 1.0"),
        (["a.wav", "model=nowhere.onnx"], "nowhere.onnx does not exist"),
        (["a.wav", "model=a.wav"], "a.wav is not an ONNX model"),
        (["a.wav", "model=kept.onnx"], "DVC cannot pull kept.onnx.dvc: "),
        (["a.wav", "backend.providers=[Abacus]"], "onnxruntime here has no Abacus"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(
    answer: Callable, burst_wav: Callable, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    burst_wav("a.wav", "yes")
    (tmp_path / "kept.onnx.dvc").touch()
    outcome = answer(*arguments)
    assert outcome.status == 1
    (complaint,) = outcome.complaints
    assert complaint.startswith("error: " + reason)
    assert outcome.output == ""


def test_standard_input_from_a_pipe_and_a_file(
    tiny_onnx: Path, burst_wav: Callable, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = burst_wav("yes.wav", "yes", 44_100)
    arguments = module_command("input=-", f"model={tiny_onnx}", "format=csv", "top_k=1")
    options = {"cwd": tmp_path, "env": environment, "capture_output": True}
    piped = subprocess.run(arguments, input=path.read_bytes(), **options)
    with path.open("rb") as redirected:
        from_file = subprocess.run(arguments, stdin=redirected, **options)
    cut_off = subprocess.run(arguments, input=path.read_bytes()[:-9_999], **options)
    assert piped.stdout == from_file.stdout
    assert piped.stdout.decode().splitlines()[1].startswith("-,0.0,1.0,1,yes,0.80")
    assert (piped.returncode, piped.stderr, from_file.returncode) == (0, b"", 0)
    assert cut_off.returncode == 1
    assert cut_off.stderr.startswith(b"error: <stdin> is cut off")
    assert len(cut_off.stderr.splitlines()) == 1


def test_it_starts_fast_and_leaves_nothing_behind(
    tiny_onnx: Path, burst_wav: Callable, tmp_path: Path, environment: dict[str, str]
) -> None:
    burst_wav("yes.wav", "yes")
    arguments = module_command("input=yes.wav", f"model={tiny_onnx}", "format=csv")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, cwd=tmp_path, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Seconds of the processor: those of the clock depend on what else the machine does.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["yes.wav"]


def test_a_reader_that_leaves_early_is_no_error(
    tiny_onnx: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(4_000 * 1_000, np.int16), 1_000)
    arguments = module_command("input=long.wav", f"model={tiny_onnx}", "format=csv")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, **pipes) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


MEASURE = """
import resource, sys
from speech_commands_kws.infer import main
main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def write_silence(path: Path, seconds: int, sample_rate: int) -> None:
    """Stereo int16 that takes no room on the disk: the file is a hole behind its header."""
    size = seconds * sample_rate * 2 * 2
    with soundfile.SoundFile(path, "w", sample_rate, 2):
        pass
    header = bytearray(path.read_bytes())
    header[4:8], header[40:44] = struct.pack("<I", len(header) - 8 + size), struct.pack("<I", size)
    path.write_bytes(header)
    os.truncate(path, len(header) + size)


def peak_memory(tiny_onnx: Path, folder: Path, minutes: int) -> int:
    """Bytes that one process needs to answer for a recording of so many minutes."""
    write_silence(folder / "long.wav", minutes * 60, 22_050)
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURE,
            f"model={tiny_onnx}",
            "input=long.wav",
            "hop_seconds=1",
            "windows=true",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.count("long.wav") == minutes * 60
    return int(result.stderr) * 1_024


@pytest.mark.parametrize("minutes", [5, pytest.param(60, marks=pytest.mark.integration)])
def test_memory_stays_flat(tiny_onnx: Path, tmp_path: Path, minutes: int) -> None:
    """As float32 the sound of five minutes alone would be 50 MiB, that of an hour 606 MiB."""
    more = peak_memory(tiny_onnx, tmp_path, minutes) - peak_memory(tiny_onnx, tmp_path, 1)
    assert more < 16 * MEBIBYTE
