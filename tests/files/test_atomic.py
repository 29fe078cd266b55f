import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from speech_commands_kws.cli.terminal import report_io_errors
from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import make_writable, replacing, write_whole, written_to

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")
NEEDS_FULL_DEVICE = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess:
    kws = f"{sys.executable} -c 'from speech_commands_kws.commands import main; exit(main())'"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.replace('KWS', kws)}"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_disk_refuses_is_one_line_with_its_name(number):
    with pytest.raises(KwsError, match=f"cannot use a.png .{os.strerror(number)}.") as refusal:
        with report_io_errors():
            raise OSError(number, os.strerror(number), "a.png")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOENT])
def test_other_failures_stay_what_they_are(number):
    """A pipe between processes is not that of the reader."""
    with pytest.raises(OSError) as failure, report_io_errors():
        raise OSError(number, os.strerror(number))
    assert failure.value.errno == number


@NEEDS_FULL_DEVICE
@pytest.mark.parametrize(
    "command", ["--help", "describe model=MODEL", "infer clip.wav model=MODEL"]
)
def test_a_full_disk_behind_standard_output_is_one_line(tiny_onnx, burst_wav, tmp_path, command):
    burst_wav("clip.wav", "yes")
    line = f"cd {tmp_path}; KWS {command.replace('MODEL', str(tiny_onnx))} > {FULL}"
    done = shell(line)
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot use the disk or standard output (No space left on device): "
        "make room or give access, or choose another place\n"
    )


@pytest.mark.parametrize("command", ["--help", "describe --help", "describe model=MODEL"])
def test_a_reader_that_has_seen_enough_is_no_error(tiny_onnx, command):
    done = shell(f"KWS {command.replace('MODEL', str(tiny_onnx))} | (exec <&-; sleep 3)")
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["describe model=MODEL", "infer clip.wav model=MODEL"])
def test_a_closed_standard_output_is_one_line(tiny_onnx, command):
    done = shell(f"KWS {command.replace('MODEL', str(tiny_onnx))} >&-")
    assert done.returncode == 1
    assert done.stderr == (
        "error: expected an open standard output for the answers, it is closed: open it\n"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_folder_that_takes_no_file_is_refused_at_once(tmp_path):
    """Nobody may make files in /proc, whatever its mode says."""
    with pytest.raises(KwsError, match="cannot write /proc "):
        make_writable(Path("/proc"))
    make_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_file_is_there_as_a_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "new" / "facts.json"
    write_whole(path, "one")
    assert path.read_text() == "one"

    def half(self, text, **_):
        self.write_bytes(text[:1].encode())
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KwsError, match="cannot write json_file=a .full."):
        write_whole(path, "two", "json_file=a")
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix_their_bytes(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the one that ended last"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_that_takes_no_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "model.onnx"
    with pytest.raises(KwsError, match=f"cannot write {path} .Not a directory.") as refusal:
        with written_to(path):
            path.touch()
    assert "\n" not in str(refusal.value)
