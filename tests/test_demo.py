"""`kws demo`, with the built page where it is there and one in small where not."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speech_commands_kws.packaging.web_page import INDEX, PAGE

START = (
    "import sys; from pathlib import Path; from speech_commands_kws.packaging import web_page; "
    "web_page.PAGE = Path(sys.argv.pop(1)); from speech_commands_kws.commands import main; sys.exit(main())"
)


@pytest.fixture
def page(tmp_path) -> Path:
    if (PAGE / INDEX).is_file():
        return PAGE
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / INDEX).write_text("<title>the page</title>")
    return folder


@contextmanager
def started(page: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", START, str(page), "demo", "browser=false", *arguments]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:  # after a failed assertion it would be waited for without an end
            process.kill()


def test_the_page_and_both_forms_of_a_model_are_served_until_an_interruption(
    page, tiny_onnx, tmp_path
):
    for name in ("model.onnx", "model.streaming.onnx"):
        shutil.copy(tiny_onnx, tmp_path / name)
    with started(page, str(tmp_path / "model.onnx"), "port=0") as process:
        line = process.stderr.readline()
        assert "listening in the browser: http://127.0.0.1:" in line
        address = next(word for word in line.split() if word.startswith("http"))
        with urllib.request.urlopen(address) as answer:
            assert b"<title>" in answer.read()
        with urllib.request.urlopen(f"{address}models.json") as answer:
            models = json.load(answer)["models"]
        assert [model["name"] for model in models] == ["tiny: model.streaming", "tiny: model"]
        with urllib.request.urlopen(address + models[0]["file"]) as answer:
            assert answer.read() == tiny_onnx.read_bytes()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read().count("\n") == 1  # how a site is written


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["port=70000"], "port must be a whole number from 0 to 65535, got 70000"),
        (["missing.onnx"], "missing.onnx does not exist"),
        ([__file__], "test_demo.py"),
    ],
)
def test_what_cannot_be_is_one_clear_error(page, arguments, message):
    with started(page, *arguments) as process:
        error = process.stderr.read()
    assert process.returncode == 1 and message in error and error.count("\n") == 1


def test_without_the_built_page_it_is_said_how_to_build_it(tmp_path):
    with started(tmp_path) as process:
        error = process.stderr.read()
    assert process.returncode == 1 and "`make web` builds it" in error
