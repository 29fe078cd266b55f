"""Every kind of bad input: one line, a non-zero exit status, and the answers for all the others."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, Outcome, burst, module_command


def wav_bytes(waveform: np.ndarray, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV", **options)
    return buffer.getvalue()


def nan_in_the_middle(seconds: float) -> bytes:
    waveform = burst("no", seconds=seconds)
    waveform[len(waveform) // 2] = np.nan
    return wav_bytes(waveform, subtype="FLOAT")


BAD_CONTENTS = {
    "empty": (b"", "bad.wav is empty (0 bytes)"),
    "text": (b"this is no sound\n", "bad.wav is not a sound file that can be read"),
    "header cut": (wav_bytes(burst("no"))[:30], "bad.wav is not a sound file that can be read"),
    "header only": (wav_bytes(burst("no"))[:44], "bad.wav is cut off"),
    "sound cut": (wav_bytes(burst("no"))[:20_000], "bad.wav is cut off"),
    "NaN": (nan_in_the_middle(1.0), "bad.wav contains NaN"),
    "zero length": (wav_bytes(np.zeros(0)), "bad.wav has no samples"),
}
GOOD_ANSWERS = {"a.wav": ["yes"], "z.wav": ["no"]}


def test_the_address_of_a_server_asks_for_its_engine(answer: Callable, burst_wav: Callable) -> None:
    burst_wav("a.wav", "yes")
    outcome = answer("a.wav", "url=127.0.0.1:8000")
    assert outcome.status == 1 and outcome.heard == {}
    (complaint,) = outcome.complaints
    assert complaint.startswith("error: url=127.0.0.1:8000 is the address of a server: add backend")


@pytest.mark.parametrize("as_folder", [False, True], ids=["files", "folder"])
@pytest.mark.parametrize("kind", BAD_CONTENTS)
def test_a_bad_file_costs_one_line_and_no_other_answer(
    answer: Callable, burst_wav: Callable, tmp_path: Path, kind: str, as_folder: bool
) -> None:
    content, reason = BAD_CONTENTS[kind]
    burst_wav("clips/a.wav", "yes")
    (tmp_path / "clips" / "bad.wav").write_bytes(content)
    burst_wav("clips/z.wav", "no")
    names = ["clips"] if as_folder else ["clips/a.wav", "clips/bad.wav", "clips/z.wav"]
    outcome = answer(*names)
    assert outcome.status == 1
    (complaint,) = outcome.complaints
    assert complaint.startswith("error: clips/" + reason)
    assert outcome.heard == GOOD_ANSWERS


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.wav", "missing.wav does not exist"),
        ("miss\ning.wav", r"miss\ning.wav does not exist"),
        ("empty_folder", "empty_folder holds no sound file"),
        ("nothing*.wav", "nothing*.wav matches no sound file"),
        ("link.wav", "link.wav does not exist"),
        ("tracked.wav", "DVC cannot pull tracked.wav.dvc: you are not inside of a DVC"),
        ("clips/a.wav/b.wav", "clips/a.wav/b.wav does not exist"),
        ("n" * 300, "n" * 300 + " cannot be opened: File name too long"),
        ("-", "- stands for a sound file on standard input"),
    ],
)
def test_a_bad_name_costs_one_line_and_no_other_answer(
    answer: Callable,
    burst_wav: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    reason: str,
) -> None:
    burst_wav("clips/a.wav", "yes")
    burst_wav("clips/z.wav", "no")
    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "tracked.wav.dvc").touch()
    (tmp_path / "link.wav").symlink_to("gone.wav")
    monkeypatch.setattr(sys, "stdin", None)
    outcome = answer("clips/a.wav", name, "clips/z.wav")
    assert outcome.status == 1
    (complaint,) = outcome.complaints
    assert complaint.startswith("error: " + reason)
    assert outcome.heard == GOOD_ANSWERS


def test_many_bad_files_cost_a_line_each(answer: Callable, tmp_path: Path) -> None:
    for i, (content, _) in enumerate(BAD_CONTENTS.values()):
        (tmp_path / f"{i}.wav").write_bytes(content)
    outcome = answer("nowhere.wav", ".")
    assert outcome.status == 1
    assert outcome.heard == {}
    assert len(outcome.complaints) == len(BAD_CONTENTS) + 1


def test_damage_in_a_long_recording_is_reported_after_what_was_heard(
    answer: Callable, burst_wav: Callable, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(nan_in_the_middle(60.0))
    burst_wav("z.wav", "no")
    outcome = answer("bad.wav", "z.wav", "hop_seconds=1", "windows=true")
    assert outcome.status == 1
    assert len(outcome.complaints) == 1
    assert 20 < len(outcome.heard["bad.wav"]) <= 30
    assert outcome.heard["z.wav"] == ["no"]


# The superuser may read everything, unless the two capabilities that allow it are given up first.
AS_A_USER = """
import ctypes, os, sys
PR_CAPBSET_DROP, DAC_OVERRIDE, DAC_READ_SEARCH = 24, 1, 2
if os.geteuid() == 0:
    prctl = ctypes.CDLL(None).prctl
    if prctl(PR_CAPBSET_DROP, DAC_OVERRIDE) or prctl(PR_CAPBSET_DROP, DAC_READ_SEARCH):
        sys.exit("cannot give up the superuser's rights")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_no_permission_costs_one_line_and_no_other_answer(
    tiny_onnx: Path, burst_wav: Callable, tmp_path: Path, environment: dict[str, str]
) -> None:
    for name in ("a.wav", "bad.wav", "closed/b.wav", "z.wav"):
        burst_wav(name, "yes")
    (tmp_path / "bad.wav").chmod(0)
    (tmp_path / "closed").chmod(0)
    names = "input=[a.wav,bad.wav,closed/b.wav,.]"
    arguments = module_command(names, f"model={tiny_onnx}", "format=csv", "top_k=1")
    result = subprocess.run(
        [sys.executable, "-c", AS_A_USER, *arguments[1:]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    (tmp_path / "closed").chmod(0o755)
    if "cannot give up" in result.stderr:
        pytest.skip(result.stderr)
    outcome = Outcome(result.returncode, result.stdout, result.stderr)
    assert outcome.status == 1
    assert outcome.complaints == [
        f"error: {name} cannot be opened: Permission denied"
        for name in ("bad.wav", "closed/b.wav", "bad.wav", "closed")
    ]
    assert outcome.heard == {"a.wav": ["yes", "yes"], "z.wav": ["yes"]}
