"""The parent run of a multirun, read back from the store; its jobs take milliseconds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient
from small_commands import ENTRY

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
COMMAND = """
import hydra
from hydra.core.hydra_config import HydraConfig
from speech_commands_kws.cli.launch import EXECUTION_WHITELIST, build, run_command
from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.recording import recorded

def run(cfg):
    if isinstance(cfg.rate, str):
        raise KwsError(f"expected a number, got {cfg.rate}")
    folder = HydraConfig.get().runtime.output_dir
    logger = build(cfg.logger, run_folder=folder) if cfg.logger else None
    with recorded(logger):
        value = 1 - (cfg.rate - 0.3) ** 2
        if logger:
            logger.log_metrics({"accuracy": value})
    return [value, cfg.rate] if len(cfg.sweep.objectives) > 1 else value
"""
CONFIG = f"""
defaults:
  - paths: default
  - logger: mlflow
  - _self_
  - sweep: none
  - override hydra/callbacks: multirun
rate: 0.5
width: 1
name: test
callbacks: {{}}
hydra:
  searchpath: ["file://{CONFIGS}"]
  sweep:
    dir: ${{paths.runs}}/grid
    subdir: ${{hydra.job.num}}
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen]:
    (tmp_path / "command.py").write_text(COMMAND + ENTRY, "utf-8")
    (tmp_path / "command.yaml").write_text(CONFIG, "utf-8")

    def begin(*overrides: str, records: bool = True) -> subprocess.Popen:
        local = ["logger.tracking_uri=null", "logger.system_metrics=false"]
        overrides += tuple(local if records else ["logger=none"])
        return subprocess.Popen(
            [sys.executable, "command.py", "-m", *overrides],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and "UserWarning" not in errors, errors


def recorded_runs(folder: Path) -> tuple[MlflowClient, list[Run], list[Run]]:
    """The store, the parents and the children, oldest first; what was deleted is gone."""
    client = MlflowClient(f"sqlite:///{folder}/plots/mlflow.db")
    experiment = client.get_experiment_by_name("speech-commands-kws")
    runs = client.search_runs(
        [experiment.experiment_id], "", ViewType.ACTIVE_ONLY, order_by=["attributes.start_time ASC"]
    )
    parents = [run for run in runs if "sweep" in run.data.tags]
    return client, parents, [run for run in runs if "sweep" not in run.data.tags]


def names_of(client: MlflowClient, run: Run, path: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id, path)}


def test_a_plain_grid_has_a_parent_with_the_best_and_the_graphs(tmp_path: Path, start) -> None:
    finish(start("rate=0.1,0.25,0.7", "width=1,2"))
    client, (parent,), children = recorded_runs(tmp_path)
    assert len(children) == 6
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    best = {key: value for key, value in parent.data.tags.items() if key.startswith("best.")}
    assert best == {"best.rate": "0.25", "best.width": "1", "best.run": "2"}
    assert parent.data.metrics["validation_accuracy"] == pytest.approx(0.9975)
    assert parent.data.tags["jobs"] == "6"
    assert names_of(client, parent) == {"comparison.txt", "plots", "sweep.yaml"}
    assert names_of(client, parent, "plots") == {
        f"plots/{name}.png"
        for name in ("optimization_history", "parameter_importances", "parallel_coordinates")
    }
    settings = yaml.safe_load(
        Path(client.download_artifacts(parent.info.run_id, "sweep.yaml")).read_text("utf-8")
    )
    assert settings["overrides"][:2] == ["rate=0.1,0.25,0.7", "width=1,2"]
    assert settings["configuration"]["rate"] == 0.5


def test_a_study_that_goes_on_keeps_its_parent(tmp_path: Path, start) -> None:
    study = ["sweep=study", "rate=interval(0,1)"]
    finish(start(*study, "sweep.trials=2"))
    _, (first,), _ = recorded_runs(tmp_path)
    (tmp_path / "plots/runs/test_sweep/mlflow.json").unlink()  # as on another machine
    finish(start(*study, "sweep.trials=4"))
    _, parents, children = recorded_runs(tmp_path)
    assert [run.info.run_id for run in parents] == [first.info.run_id]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {first.info.run_id}
    assert parents[0].data.tags["jobs"] == "4"


def test_two_processes_share_one_parent(tmp_path: Path, start) -> None:
    study = ["sweep=study", "rate=interval(0,1)", "sweep.trials=6"]
    for process in [start(*study) for _ in range(2)]:
        finish(process)
    _, (parent,), children = recorded_runs(tmp_path)
    assert len(children) == 6
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}


def test_several_objectives_have_a_front(tmp_path: Path, start) -> None:
    finish(
        start(
            *["sweep=study", "rate=interval(0,1)", "sweep.trials=5"],
            "+sweep.objectives.multiply_adds=minimize",
        )
    )
    client, (parent,), _ = recorded_runs(tmp_path)
    assert "plots/pareto_front.png" in names_of(client, parent, "plots")
    assert parent.data.metrics["multiply_adds"] >= 0


def test_a_refused_start_leaves_the_record_as_it_was(tmp_path: Path, start) -> None:
    study = ["sweep=study", "sweep.trials=1"]
    finish(start(*study, "rate=interval(0,1)"))
    _, (before,), _ = recorded_runs(tmp_path)
    for refused in [["rate=interval(0,2)"], ["rate=interval(1,0)", "sweep.name=new"]]:
        output, errors = (process := start(*study, *refused)).communicate(timeout=120)
        assert (process.returncode, output) == (1, "")
        (line,) = errors.splitlines()
        assert line.startswith("error: ")
    _, (after,), _ = recorded_runs(tmp_path)
    assert after.info.status == "FINISHED" and after.info.end_time == before.info.end_time
    assert [path.name for path in (tmp_path / "plots/runs").iterdir()] == ["test_sweep"]


def test_a_grid_that_fails_closes_its_parent_and_ends_with_one_line(tmp_path: Path, start) -> None:
    process = start("rate=bad,worse")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in errors
    assert [line for line in errors.splitlines() if line.startswith("error: ")] == [
        "error: expected a number, got bad"
    ]
    _, (parent,), _ = recorded_runs(tmp_path)
    assert parent.info.status == "FAILED" and parent.data.tags["jobs"] == "2"


def test_without_records_the_graphs_are_still_drawn(tmp_path: Path, start) -> None:
    finish(start("rate=0.1,0.2", records=False))
    assert not (tmp_path / "plots/mlflow.db").exists()
    assert (tmp_path / "plots/runs/grid/plots/optimization_history.png").is_file()
