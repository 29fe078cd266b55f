"""DVC repositories made for a test, each with git as a clone has it."""

import subprocess
import sys
from pathlib import Path


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *arguments)


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return call(folder, "git", *author, *arguments)


def make_repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    return folder


def import_pointer(path: Path, url: str, etag: str, size: int) -> Path:
    """A pointer for `path`, written by hand, to a published file."""
    pointer = Path(f"{path}.dvc")
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text(
        f"frozen: true\ndeps:\n- path: {url}\n  checksum: '{etag}'\n  size: {size}\n  hash: md5\n"
        f"outs:\n- path: {path.name}\n  hash: md5\n"
    )
    return pointer
