"""Builds a TensorRT plan with trt/convert.sh."""

import subprocess
from pathlib import Path

from speech_commands_kws.errors import KwsError

PACKAGE_DIR = Path(__file__).resolve().parent.parent
SCRIPT = Path("trt/convert.sh")
COMPLAINT = "error: "


def build_plan(model: Path, output: Path, *flags: str, **settings: str | int | None) -> str:
    """Run trt/convert.sh; returns its last line.

    Args:
        model: the exported ONNX file.
        output: the plan to write.
        flags: such as `--check`, which builds nothing.
        settings: the keys of configs/tensorrt; None leaves the script its own.

    Raises:
        KwsError: the script refuses, in its own words.
    """
    options = [
        text
        for key, value in settings.items()
        if value is not None
        for text in (f"--{key.replace('_', '-')}", str(value))
    ]
    command = ["bash", str(find_script()), *options, *flags, "--", str(model), str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise KwsError(lines[-1].removeprefix(COMPLAINT))
    return done.stdout.strip()


def find_script() -> Path:
    """The script: a wheel carries it inside the package, a checkout has it beside.

    Raises:
        KwsError: it is in neither place.
    """
    places = (PACKAGE_DIR / SCRIPT, PACKAGE_DIR.parent / SCRIPT)
    for path in places:
        if path.is_file():
            return path
    raise KwsError(f"expected {SCRIPT} at {places[1]}, it is not there: use a checkout")
