"""What `make audit` makes of the answers of pip-audit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / ".ci" / "audit.sh"


@pytest.fixture
def program() -> str:
    """The last program of the script."""
    return (
        SCRIPT.read_text(encoding="utf-8").rpartition("<<'PROGRAM'\n")[2].partition("\nPROGRAM")[0]
    )


def test_what_is_vulnerable_is_named_with_what_mends_it(program: str, tmp_path: Path) -> None:
    found = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"]}
    packages = [
        {"name": "lame", "version": "1.0", "vulns": [found]},
        {"name": "sound", "version": "2.0", "vulns": []},
        {"name": "own", "skip_reason": "not found"},
    ]
    (tmp_path / "requirements0.found").write_text(json.dumps({"dependencies": packages}))
    (tmp_path / "requirements1.found").write_text("")
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    first, second, third = done.stdout.splitlines()
    assert first == "vulnerabilities: 1 known, in 2 packages checked"
    assert second.endswith(": own") and third == "  lame 1.0: PYSEC-2026-1, mended in 1.1"


def test_an_index_that_knows_nothing_is_no_clean_bill(program: str, tmp_path: Path) -> None:
    packages = [{"name": "sound", "skip_reason": "not found on PyPI"}]
    (tmp_path / "requirements0.found").write_text(json.dumps({"dependencies": packages}))
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("NOT CHECKED for vulnerabilities")
