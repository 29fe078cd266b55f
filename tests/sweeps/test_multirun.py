"""A multirun of a command that takes milliseconds, with the Hydra callback around it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from small_commands import ENTRY

from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.comparison import TABLE_NAME
from speech_commands_kws.sweeps.multirun import Multirun
from speech_commands_kws.sweeps.results import RESULT_NAME, read_results

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SLOW_PACKAGES = {"torch", "lightning", "mlflow", "matplotlib", "librosa"}
# A command of the same shape as ours: it answers with a number, or with a mistake of the user.
COMMAND = """
import hydra
from speech_commands_kws.cli.launch import EXECUTION_WHITELIST, run_command
from speech_commands_kws.errors import KwsError

def run(cfg):
    if cfg.rate > 2:
        raise KwsError(f"a rate of {cfg.rate} is [bold]too much[/bold]")
    return cfg.rate / 2
"""
CONFIG = f"""
defaults:
  - override hydra/callbacks: multirun
  - _self_
rate: 0.5
name: x
chosen: [yes, no]
sweep: {{objectives: {{validation_accuracy: maximize}}}}
hydra:
  searchpath: ["file://{CONFIGS}"]
  run: {{dir: single}}
  sweep: {{dir: sweep, subdir: "${{hydra:job.num}}"}}
"""


def start_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "command.py").write_text(COMMAND + ENTRY)
    (folder / "command.yaml").write_text(CONFIG)
    return subprocess.run(
        [sys.executable, "command.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(CONFIGS.parent), "COLUMNS": "160"},
    )


def test_multirun_prints_one_table_and_leaves_it(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,1.5", "chosen=[yes,no],[go]")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "0.7500" in line or "0.2500" in line]
    assert len(rows) == 4
    assert "1.5" in rows[0] and "[yes,no]" in rows[0] and "0.7500" in rows[0] and "2" in rows[0]
    assert str(tmp_path / "sweep" / TABLE_NAME) in done.stdout
    assert (tmp_path / "sweep" / TABLE_NAME).read_text().count("0.7500") == 2
    values = {each["folder"].name: each["values"] for each in read_results(tmp_path / "sweep")}
    assert values == {"0": [0.25], "1": [0.25], "2": [0.75], "3": [0.75]}


def test_multirun_with_a_failed_job_still_compares_the_others(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,3,1")
    assert done.returncode == 1
    rows = done.stdout.partition("──\n")[2].splitlines()
    assert ["0.5000" in rows[0], "0.2500" in rows[1], "failed" in rows[2]] == [True] * 3
    assert "1 failed: KwsError: a rate of 3 is [bold]too much[/bold]" in done.stdout
    failed = json.loads((tmp_path / "sweep" / "1" / RESULT_NAME).read_text())
    assert failed["overrides"] == {"rate": "3"} and failed["values"] is None


def test_single_run_prints_no_table(tmp_path: Path) -> None:
    done = start_command(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert not list(tmp_path.rglob(RESULT_NAME))


def test_import_is_light() -> None:
    code = "import sys, speech_commands_kws.sweeps.multirun; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not SLOW_PACKAGES & set(loaded.stdout.split())


def test_a_refused_multirun_leaves_nothing(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,1.5", "+trainer.devices=2")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: expected one device")
    assert not (tmp_path / "sweep").exists()


def test_a_mistake_on_its_way_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        try:
            raise KwsError("a job has failed")
        finally:
            Multirun(None).on_multirun_end(config=OmegaConf.create())
    assert capsys.readouterr().err == "error: a job has failed\n"


def test_a_name_is_that_of_the_folder_of_a_plain_grid(tmp_path: Path) -> None:
    done = start_command(tmp_path, "-m", "rate=0.5,1.5", "name=tones")
    assert done.returncode == 0, done.stderr
    values = {
        each["folder"].name: each["values"] for each in read_results(tmp_path / "tones_sweep")
    }
    assert values == {"0": [0.25], "1": [0.75]} and not (tmp_path / "sweep").exists()
    done = start_command(tmp_path, "-m", "rate=0.5,1.5", "name=a/b")
    assert done.returncode == 1 and "name must be a name for a folder" in done.stderr
