"""Each state that a check can tell is made."""

import platform
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.error import URLError

import pytest

from speech_commands_kws.assembly import checkup
from speech_commands_kws.assembly.checkup import BASE, BROKEN, MISSING, OK, Line, Places
from speech_commands_kws.packaging import web_page
from speech_commands_kws.serving import environment

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    folders = {name: tmp_path / name for name in ("data", "runs", "triton")}
    return Places(tmp_path, **folders, tracking_uri=None, wait_seconds=5, least_free_gb=0.001)


@pytest.fixture
def fake_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package in the place of an installed one, with this source."""

    def make(name: str, source: str) -> None:
        folder = tmp_path / "modules"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield make
    for path in (tmp_path / "modules").glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The only program that is found, with this script."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def status_and_detail(line: Line) -> tuple[str, str]:
    assert bool(line.cure) == (line.status != OK)
    return line.status, line.detail


# Packages


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The packages that there are, by their versions."""
    there = {"numpy": "2.4.6", "rich": "15.0", "torch": "2.11.0+cpu"}
    needs = [
        "numpy (>=2.2,<3)",
        "rich (>=14)",
        'torch (==2.11.0) ; extra == "train"',
        'optuna (>=5.0rc1) ; extra == "train"',
        'filelock (>=3.20) ; extra == "serve"',
        'winsound ; (sys_platform == "win95") and extra == "train"',
    ]

    def version(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(checkup, "version", version)
    monkeypatch.setattr(checkup, "requires", lambda _: needs)
    return there


def test_packages_are_there_missing_or_of_another_version(
    places: Places, installed: dict[str, str]
) -> None:
    assert status_and_detail(checkup.extra(BASE, places)) == (OK, "numpy 2.4.6, rich 15.0")
    line = checkup.extra("train", places)
    assert line == Line(
        "extra train",
        MISSING,
        "no optuna",
        'make setup, or pip install "speech-commands-kws[train]"',
    )
    installed["optuna"] = "5.0rc2"
    assert status_and_detail(checkup.extra("train", places)) == (
        OK,
        "torch 2.11.0+cpu, optuna 5.0rc2",
    )
    installed["torch"] = "2.12.0"
    line = checkup.extra("train", places)
    assert status_and_detail(line) == (BROKEN, "torch 2.12.0 is not ==2.11.0")
    del installed["numpy"]
    line = checkup.extra(BASE, places)
    assert status_and_detail(line) == (BROKEN, "no numpy")
    assert line.cure == "make setup, or pip install speech-commands-kws"


def test_every_extra_of_this_package_has_a_line(places: Places) -> None:
    names = {line.name for line in checkup.check_up(places)}
    assert {"extra train", "extra serve", "extra wyoming", "base packages"} <= names


def test_a_copy_that_was_not_installed_is_told(places: Places, installed) -> None:
    assert checkup.package(places).status == BROKEN
    installed["speech-commands-kws"] = "1.2.3"
    status, detail = status_and_detail(checkup.package(places))
    assert status == OK and "1.2.3 in" in detail and Path(detail.partition(" in ")[2]).is_dir()


def test_a_library_that_does_not_load_is_broken(places: Places, fake_module) -> None:
    for name in ("soundfile", "soxr"):
        check = checkup.checks()[name]
        assert status_and_detail(check(places))[0] == OK
    fake_module("soundfile", "raise OSError('libsndfile.so: no such file')")
    line = checkup.checks()["soundfile"](places)
    assert status_and_detail(line) == (BROKEN, "libsndfile.so: no such file")
    assert line.cure == "pip install --force-reinstall soundfile"


def test_onnxruntime_tells_its_providers_or_why_it_is_broken(places: Places, monkeypatch) -> None:
    status, detail = status_and_detail(checkup.onnxruntime(places))
    assert status == OK and "CPUExecutionProvider" in detail
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, detail = status_and_detail(checkup.onnxruntime(places))
    assert status == BROKEN and "onnxruntime" in detail


# The machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux machine whose files are in this folder; the groups of its processes are in `groups`."""
    for name in ("CPU_INFO", "MEMORY_INFO", "OWN_GROUP"):
        monkeypatch.setattr(checkup, name, tmp_path / name)
    monkeypatch.setattr(checkup, "GROUP_ROOT", tmp_path / "groups")
    (tmp_path / "groups" / "user" / "kws").mkdir(parents=True)
    return tmp_path


def test_the_processor_is_told_with_its_features_and_limits(places: Places, machine: Path) -> None:
    status, detail = status_and_detail(checkup.processor(places))
    assert status == OK and re.search(r"; \d+ cores", detail) and "limit" not in detail
    (machine / "CPU_INFO").write_text(
        "processor\t: 0\nmodel name\t: AMD Some 7\nflags\t\t: fpu avx avx2 avx2_x avx512_vnni\n\nprocessor\t: 1\n"
    )
    (machine / "OWN_GROUP").write_text("1:cpu:/\n0::/user/kws\n")
    (machine / "groups" / "cpu.max").write_text("300000 100000\n")
    (machine / "groups" / "user" / "cpu.max").write_text("150000 100000\n")
    (machine / "groups" / "user" / "kws" / "cpu.max").write_text("max 100000\n")
    detail = checkup.processor(places).detail
    assert detail.startswith("AMD Some 7; ") and "; avx avx2 avx512_vnni" in detail
    assert ", a container's limit of 1.5;" in detail


def test_memory_is_told_with_limits(places: Places, machine: Path) -> None:
    assert status_and_detail(checkup.memory(places)) == (OK, "unknown on this system")
    (machine / "MEMORY_INFO").write_text(
        "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable: 4000000 kB\n"
    )
    assert checkup.memory(places).detail == "8.2 GB in all, 4.1 GB available"
    (machine / "OWN_GROUP").write_text("0::/\n")
    (machine / "groups" / "memory.max").write_text("2000000000\n")
    assert checkup.memory(places).detail.endswith("available, a container's limit of 2.0 GB")


def test_threads_are_those_of_the_environment(places: Places, monkeypatch) -> None:
    for name in checkup.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert checkup.threads(places).detail.startswith("no limit set")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert checkup.threads(places).detail.startswith("OMP_NUM_THREADS=3")


@pytest.mark.parametrize(
    ("script", "status", "detail"),
    [
        (None, MISSING, "no nvidia-smi"),
        (
            "echo 'H100, 80 GB, 570'; echo 'H100, 80 GB, 570'",
            OK,
            "H100, 80 GB, 570; H100, 80 GB, 570",
        ),
        ("echo no driver; exit 9", BROKEN, "nvidia-smi: no driver"),
        ("/bin/sleep 60", BROKEN, "nvidia-smi: no answer in 0.2 s"),
    ],
)
def test_a_gpu(tmp_path: Path, fake_program, script, status, detail) -> None:
    if script:
        fake_program("nvidia-smi", script)
    places = Places(
        *[tmp_path] * 4,
        None,
        wait_seconds=0.2 if "sleep" in (script or "") else 60,
        least_free_gb=1,
    )
    assert status_and_detail(checkup.gpu(places)) == (status, detail)


SOUNDDEVICE = """
class PortAudioError(Exception): pass
def get_portaudio_version(): return 19, "PortAudio V19"
def query_devices(kind):
    assert kind == "input"
    {}
"""


def test_portaudio_and_the_microphone(places: Places, fake_module, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert status_and_detail(checkup.portaudio(places))[0] == MISSING
    assert "[record]" in checkup.portaudio(places).cure
    fake_module("sounddevice", "raise OSError('PortAudio library not found')")
    line = checkup.portaudio(places)
    assert status_and_detail(line) == (BROKEN, "PortAudio library not found")
    assert "libportaudio2" in line.cure
    assert status_and_detail(checkup.microphone(places)) == (MISSING, "no portaudio")
    for error in ("PortAudioError('no default input')", "ValueError('no default input')"):
        fake_module("sounddevice", SOUNDDEVICE.format(f"raise {error}"))
        assert status_and_detail(checkup.portaudio(places)) == (OK, "PortAudio V19")
        assert status_and_detail(checkup.microphone(places)) == (MISSING, "no default input")
    facts = {"name": "Anna's headset", "default_samplerate": 44100.0, "max_input_channels": 2}
    fake_module("sounddevice", SOUNDDEVICE.format(f"return {facts}"))
    assert status_and_detail(checkup.microphone(places)) == (
        OK,
        "the default one has 44100 Hz, 2 channels",
    )


# What is optional


def test_espeak(places: Places, fake_module, monkeypatch) -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra `synthetic`")
    status, detail = status_and_detail(checkup.espeak(places))
    assert status == OK and re.fullmatch(r"[\d.]+, \d+ voices", detail)
    fake_module(
        "espeakng_loader",
        "def get_library_path(): return '/nowhere/libespeak-ng.so'\ndef get_data_path(): return '/nowhere'",
    )
    status, detail = status_and_detail(checkup.espeak(places))
    assert status == BROKEN and "libespeak-ng.so" in detail
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert status_and_detail(checkup.espeak(places)) == (MISSING, "no espeakng-loader")


def test_the_page(places: Places, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(web_page, "PAGE", tmp_path)
    assert checkup.page(places).status == MISSING
    (tmp_path / "index.html").touch()
    assert status_and_detail(checkup.page(places)) == (OK, str(tmp_path))


def test_the_environment_of_triton(places: Places, monkeypatch) -> None:
    pytest.importorskip("tritonclient", reason="needs the extra `serve`")
    assert checkup.triton(places).detail.startswith("no environment in")
    places.triton.mkdir()
    line = checkup.triton(places)
    assert line.status == MISSING and line.detail.startswith("an outdated one in")
    monkeypatch.setattr(environment, "is_ready", lambda found: found.folder == places.triton)
    assert status_and_detail(checkup.triton(places)) == (OK, str(places.triton))


def test_without_the_packages_of_an_extra_what_needs_them_is_missing(
    places: Places, installed
) -> None:
    installed.clear()
    assert status_and_detail(checkup.extra("train", places)) == (MISSING, "not installed")
    installed["optuna"] = "5.0"
    assert status_and_detail(checkup.extra("train", places)) == (MISSING, "no torch")
    assert status_and_detail(checkup.triton(places)) == (MISSING, "no extra serve")


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The test's output is not for it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def at(places: Places, uri: str | None) -> Places:
    return Places(**{**vars(places), "tracking_uri": uri})


@pytest.mark.parametrize(
    ("status", "body", "found", "detail"),
    [
        (200, b"OK", OK, "here, at port {}"),
        (401, b"log in", OK, "here, at port {}"),
        (200, b"<html>", MISSING, "here, at port {}: something else answers"),
        (404, b"", MISSING, "here, at port {}: something else answers (404)"),
    ],
)
def test_the_mlflow_server(places: Places, monkeypatch, status, body, found, detail) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with server(status, body) as uri:
        line = checkup.mlflow_server(at(places, f"{uri}/"))
    assert status_and_detail(line) == (found, detail.format(uri.rpartition(":")[2]))


def test_an_mlflow_server_that_is_not_there(places: Places, monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    line = checkup.mlflow_server(at(places, CLOSED_PORT))
    assert status_and_detail(line) == (MISSING, "here, at port 9: Connection refused")
    assert checkup.mlflow_server(at(places, "http://127.0.0.1:port")).status == MISSING
    for uri in (None, "sqlite:///mlflow.db"):
        assert checkup.mlflow_server(at(places, uri)).status == OK

    def refuse(*_: object, **__: object) -> None:
        raise URLError(ssl.SSLCertVerificationError("not valid for 'mlflow.acme.example'"))

    monkeypatch.setattr(checkup, "urlopen", refuse)
    line = checkup.mlflow_server(at(places, "https://mlflow.acme.example:8443"))
    assert line.detail == "on another machine, at port 8443: SSLCertVerificationError"


def test_the_remote_of_dvc(places: Places) -> None:
    assert status_and_detail(checkup.dvc_remote(places)) == (MISSING, "none is set")
    config = places.root / ".dvc" / "config"
    config.parent.mkdir()
    config.write_text("[core]\n    analytics = false\n    remote = storage\n")
    assert checkup.dvc_remote(places).status == BROKEN
    for url, kind in (("gdrive://secret", "gdrive"), ("/home/anna/100%", "a folder")):
        local = f"['remote \"storage\"']\n    url = {url}\n"
        config.with_name("config.local").write_text(local)
        assert status_and_detail(checkup.dvc_remote(places)) == (OK, kind)
    config.write_text("remote = storage\n")
    assert checkup.dvc_remote(places).status == BROKEN


def test_a_folder_has_space_and_can_be_written(places: Places, monkeypatch) -> None:
    line = checkup.folder("data", places)
    assert re.fullmatch(
        rf"{re.escape(str(places.data))}: [\d.]+ GB free of [\d.]+ GB", status_and_detail(line)[1]
    )
    full = Places(**{**vars(places), "least_free_gb": 1e9})
    line = checkup.folder("runs", full)
    assert line.status == BROKEN and line.cure == "make room, or set paths.runs="
    monkeypatch.setattr(checkup.os, "access", lambda *_: False)  # whom the root user passes
    assert checkup.folder("data", places).detail.endswith("and it cannot be written")


def test_the_newest_exports(places: Places, tmp_path: Path) -> None:
    line = checkup.export(places)
    assert status_and_detail(line) == (MISSING, f"none below {places.runs}")
    model = places.runs / "first" / "model.streaming.onnx"
    model.parent.mkdir(parents=True)
    model.touch()
    status, detail = status_and_detail(checkup.export(places))
    assert status == OK and re.fullmatch(rf"{re.escape(str(model))} of [-\d]+ [\d:]+", detail)


# All of them


def test_a_check_that_fails_ends_no_other(places: Places, monkeypatch) -> None:
    names = [line.name for line in checkup.check_up(places)]

    def fail(_: Places) -> Line:
        raise PermissionError(13, "Permission denied", "/home/anna/secret")

    monkeypatch.setattr(checkup, "memory", fail)
    lines = list(checkup.check_up(places))
    assert [line.name for line in lines] == names
    assert Line("memory", BROKEN, "Permission denied", "see the other lines, or report it") in lines


def test_what_is_private_is_left_out(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "anna")
    monkeypatch.setattr(platform, "node", lambda: "annas-laptop.lan")
    text = (
        "/home/anna/kws, /scratch/anna/runs, annas-laptop.lan, annas-laptop:80, hannah, paths.anna"
    )
    assert checkup.private(text) == (
        "~/kws, /scratch/<user>/runs, <machine>, <machine>:80, hannah, paths.anna"
    )
    assert checkup.private("/home/annabel/kws") == "/home/annabel/kws"
    monkeypatch.setenv("HOME", "/")
    assert checkup.private("/data/runs") == "/data/runs"
