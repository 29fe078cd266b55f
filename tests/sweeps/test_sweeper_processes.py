"""The sweeper on a command that takes milliseconds; it is killed, shared, stopped and started again."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from small_commands import ENTRY

from speech_commands_kws.sweeps.results import read_results

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# A command of the shape of ours. Files in its folder say what happens to which trial.
COMMAND = """
import os, signal, time
from pathlib import Path
import hydra
from speech_commands_kws.cli.launch import EXECUTION_WHITELIST, run_command
from speech_commands_kws.errors import KwsError

def run(cfg):
    Path("begun").mkdir(exist_ok=True)
    with Path(f"begun/{cfg.sweep.trial}").open("a") as file:
        file.write(f"{cfg.rate} {os.getpid()}\\n")
    order = Path(f"order/{cfg.sweep.trial}")
    if order.exists():
        what = order.read_text()
        if what == "kill once":
            order.unlink()
        if what.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "diverge":
            raise KwsError("the loss became NaN in epoch 1")
        if what == "memory":
            raise MemoryError("could not allocate 7 GB")
        if what == "nan":
            return float("nan")
        if what == "interrupt":
            order.unlink()
            raise KeyboardInterrupt
    time.sleep(cfg.seconds)
    value = -(cfg.rate - 0.3) ** 2
    return [value, cfg.rate] if len(cfg.sweep.objectives) > 1 else value
"""
CONFIG = f"""
defaults:
  - paths: default
  - _self_
  - sweep: study
  - override hydra/callbacks: multirun
rate: 0.5
kind: a
seconds: 0.0
name: test
callbacks: {{}}
hydra:
  searchpath: ["file://{CONFIGS}"]
"""
INTERVAL = "rate=interval(0,1)"
PATIENCE = 120  # seconds

pytestmark = pytest.mark.integration


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Start the command in its folder, as a process that a test may kill."""
    (tmp_path / "command.py").write_text(COMMAND + ENTRY, "utf-8")
    (tmp_path / "command.yaml").write_text(CONFIG, "utf-8")

    def begin(*overrides: str) -> subprocess.Popen:
        quick = ["sweep.lost_after_seconds=30", "sweep.heartbeat_seconds=0.1"]
        return subprocess.Popen(
            [sys.executable, "command.py", "-m", *quick, *overrides],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.fixture
def sweep(start: Callable[..., subprocess.Popen]) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command to its end."""

    def complete(*overrides: str) -> subprocess.CompletedProcess:
        process = start(*overrides)
        output, errors = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return complete


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="test", storage=f"sqlite:///{folder}/plots/studies.db")
    return study.trials


def rates(folder: Path) -> list[float]:
    return [trial.params["rate"] for trial in trials(folder)]


def order(folder: Path, trial: int, what: str) -> None:
    (folder / "order").mkdir(exist_ok=True)
    (folder / "order" / str(trial)).write_text(what, "utf-8")


def begun(folder: Path) -> dict[int, int]:
    """How often each trial was begun."""
    return {
        int(path.name): len(path.read_text("utf-8").splitlines())
        for path in (folder / "begun").iterdir()
    }


def test_all_trials_are_finished_and_compared(tmp_path: Path, sweep) -> None:
    done = sweep(INTERVAL, "sweep.trials=5")
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 5
    best = max(trials(tmp_path), key=lambda trial: trial.value)
    marked = next(line for line in done.stdout.splitlines() if "* best" in line)
    assert marked.endswith(f" {best.number}")
    assert len(read_results(tmp_path / "plots" / "runs" / "test_sweep")) == 5


def test_one_seed_gives_one_sequence(tmp_path: Path, sweep) -> None:
    sampler = "hydra.sweeper.sampler.n_startup_trials=3"
    assert sweep(INTERVAL, "sweep.trials=6", sampler).returncode == 0
    first = rates(tmp_path)
    (tmp_path / "plots" / "studies.db").unlink()
    assert sweep(INTERVAL, "sweep.trials=6", sampler).returncode == 0
    assert rates(tmp_path) == first
    assert len(set(first)) == 6
    (tmp_path / "plots" / "studies.db").unlink()
    assert sweep(INTERVAL, "sweep.trials=6", sampler, "sweep.seed=1").returncode == 0
    assert set(rates(tmp_path)).isdisjoint(first)


def test_more_trials_go_on_with_the_study(tmp_path: Path, sweep) -> None:
    assert sweep(INTERVAL, "sweep.trials=2").returncode == 0
    assert sweep(INTERVAL, "sweep.trials=5").returncode == 0
    continued = rates(tmp_path)
    assert len(continued) == 5
    assert begun(tmp_path) == dict.fromkeys(range(5), 1)
    again = sweep(INTERVAL, "sweep.trials=5")
    assert again.returncode == 0 and "0 of 5 trials to go" in again.stderr
    assert begun(tmp_path) == dict.fromkeys(range(5), 1)
    (tmp_path / "plots" / "studies.db").unlink()
    assert sweep(INTERVAL, "sweep.trials=5").returncode == 0
    assert rates(tmp_path) == continued


def test_another_search_needs_another_name(sweep) -> None:
    assert sweep(INTERVAL, "sweep.trials=1").returncode == 0
    for change in ["seconds=0.1", "kind=a,b"]:
        done = sweep(INTERVAL, change, "sweep.trials=2")
        assert done.returncode == 1
        assert "sweep.name" in done.stderr and change.partition("=")[0] in done.stderr


def test_killed_sweep_repeats_no_sample(tmp_path: Path, start, sweep) -> None:
    process = start(INTERVAL, "sweep.trials=5", "seconds=0.2")
    while process.poll() is None and not (tmp_path / "begun" / "2").is_file():
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert trials(tmp_path)[2].state == TrialState.RUNNING
    assert sweep(INTERVAL, "sweep.trials=5", "seconds=0.2").returncode == 0
    states = [trial.state for trial in trials(tmp_path)]
    assert states == [TrialState.COMPLETE] * 5
    assert len(set(rates(tmp_path))) == 5
    assert begun(tmp_path) == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1}
    lines = (tmp_path / "begun" / "2").read_text("utf-8").splitlines()
    assert lines[0].split()[0] == lines[1].split()[0]  # the same sample, gone on with


def test_a_trial_that_kills_its_process_fails_in_the_end(tmp_path: Path, sweep) -> None:
    order(tmp_path, 1, "kill always")
    for _ in range(2):
        assert sweep(INTERVAL, "sweep.trials=3").returncode == -signal.SIGKILL
    done = sweep(INTERVAL, "sweep.trials=3")
    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in trials(tmp_path)]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert "killed" in trials(tmp_path)[1].user_attrs["reason"]


@pytest.mark.parametrize(
    "what, reason",
    [("diverge", "loss became NaN"), ("memory", "could not allocate"), ("nan", "finite")],
)
def test_a_failure_is_recorded_and_the_sweep_goes_on(tmp_path, sweep, what, reason) -> None:
    order(tmp_path, 1, what)
    done = sweep(INTERVAL, "sweep.trials=3")
    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in trials(tmp_path)]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert reason in trials(tmp_path)[1].user_attrs["reason"]
    result = json.loads((tmp_path / "plots/runs/test_sweep/1/result.json").read_text("utf-8"))
    assert reason in result["status"]
    assert "Traceback" not in done.stderr


def test_a_study_of_failures_is_an_error(tmp_path: Path, sweep) -> None:
    for number in range(2):
        order(tmp_path, number, "diverge")
    done = sweep(INTERVAL, "sweep.trials=2")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: none of the 2 trials of test has succeeded") and "NaN" in last
    assert done.stdout.count("loss became NaN") == 2
    assert sweep(INTERVAL, "sweep.trials=3").returncode == 0


def test_an_interruption_ends_the_sweep_and_loses_nothing(tmp_path: Path, sweep) -> None:
    order(tmp_path, 1, "interrupt")
    stopped = sweep(INTERVAL, "sweep.trials=3")
    assert stopped.returncode == 1
    assert "goes on with the study test" in stopped.stderr and "Traceback" not in stopped.stderr
    assert sweep(INTERVAL, "sweep.trials=3").returncode == 0
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 3
    assert begun(tmp_path) == {0: 1, 1: 2, 2: 1}


def test_two_processes_share_the_trials(tmp_path: Path, start) -> None:
    patient = "sweep.lost_after_seconds=60"
    processes = [start(INTERVAL, "sweep.trials=8", "seconds=0.2", patient) for _ in range(2)]
    outcomes = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(
        text for outcome in outcomes for text in outcome
    )
    assert [trial.state for trial in trials(tmp_path)[:8]] == [TrialState.COMPLETE] * 8
    assert begun(tmp_path) == dict.fromkeys(range(8), 1)
    workers = {path.read_text("utf-8").split()[1] for path in (tmp_path / "begun").iterdir()}
    assert len(workers) == 2
    assert len(read_results(tmp_path / "plots/runs/test_sweep")) == 8


def test_a_grid_trains_every_point_once(tmp_path: Path, sweep) -> None:
    grid = ["hydra/sweeper/sampler=grid", "rate=0.1,0.3", "kind=choice(a,b,c)"]
    order(tmp_path, 3, "kill once")
    assert sweep(*grid).returncode == -signal.SIGKILL
    done = sweep(*grid)
    assert done.returncode == 0, done.stderr
    points = [(trial.params["rate"], trial.params["kind"]) for trial in trials(tmp_path)]
    assert points == [(rate, kind) for rate in (0.1, 0.3) for kind in "abc"]
    assert all(trial.state == TrialState.COMPLETE for trial in trials(tmp_path))


def test_a_sample_that_was_trained_is_not_trained_again(tmp_path: Path, sweep) -> None:
    done = sweep("kind=choice(a,b)", "sweep.trials=6")
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.COMPLETE] * 6
    assert len(begun(tmp_path)) == 2


def test_several_objectives(tmp_path: Path, sweep) -> None:
    objectives = "+sweep.objectives.multiply_adds=minimize"
    done = sweep(INTERVAL, "sweep.trials=6", objectives, "hydra/sweeper/sampler=nsgaii")
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path)
    assert all(len(trial.values) == 2 for trial in found)
    front = {
        tuple(trial.values)
        for trial in found
        if not any(
            other.values[0] >= trial.values[0]
            and other.values[1] <= trial.values[1]
            and other.values != trial.values
            for other in found
        )
    }
    assert done.stdout.count("* best") == len(front)


def test_a_journal_serves_too(tmp_path: Path, sweep) -> None:
    storage = f"sweep.storage=journal:///{tmp_path}/shared/study.log"
    assert sweep(INTERVAL, "sweep.trials=2", storage).returncode == 0
    assert sweep(INTERVAL, "sweep.trials=3", storage).returncode == 0
    assert begun(tmp_path) == dict.fromkeys(range(3), 1)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["rate=0.1"], "expected something to search"),
        ([INTERVAL, "hydra/sweeper/sampler=grid"], "lists of values for a grid"),
        ([INTERVAL, "sweep.storage=nosuch://there"], "sweep.storage=nosuch://there"),
        (
            [INTERVAL, "+sweep.objectives.multiply_adds=minimize", "sweep/pruner=median"],
            "expected one objective",
        ),
        ([INTERVAL, "nosuch=1"], "nosuch"),
    ],
)
def test_a_mistake_is_one_line(sweep, overrides: list[str], message: str) -> None:
    done = sweep(*overrides)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


LAUNCHERS = [
    ("joblib", "joblib", ["hydra.launcher.n_jobs=2"]),
    ("submitit_local", "submitit", ["hydra.launcher.timeout_min=5"]),
    ("ray", "ray", ["+hydra.launcher.ray.init.num_cpus=2"]),
]


@pytest.mark.parametrize("launcher, package, settings", LAUNCHERS, ids=lambda value: str(value))
def test_two_workers_of_an_engine(tmp_path: Path, sweep, launcher, package, settings) -> None:
    pytest.importorskip(package)
    order(tmp_path, 2, "diverge")
    parallel = [f"hydra/launcher={launcher}", "sweep.jobs=2", *settings]
    done = sweep(INTERVAL, "sweep.trials=4", "seconds=1.0", *parallel)
    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in trials(tmp_path)]
    assert states == [*[TrialState.COMPLETE] * 2, TrialState.FAIL, TrialState.COMPLETE]
    workers = {
        (tmp_path / "begun" / str(number)).read_text("utf-8").split()[1] for number in (0, 1)
    }
    assert len(workers) == 2
    assert len(read_results(tmp_path / "plots/runs/test_sweep")) == 4


def test_a_killed_worker_fails_its_trial_alone(tmp_path: Path, sweep) -> None:
    """As the kernel kills it when memory is short."""
    pytest.importorskip("submitit")
    order(tmp_path, 1, "kill always")
    parallel = ["hydra/launcher=submitit_local", "sweep.jobs=2", "hydra.launcher.timeout_min=5"]
    done = sweep(INTERVAL, "sweep.trials=4", *parallel)
    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in trials(tmp_path)]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, *[TrialState.COMPLETE] * 2]
    assert trials(tmp_path)[1].user_attrs["reason"]


def test_a_grid_typed_in_another_order_goes_on(tmp_path: Path, sweep) -> None:
    grid = ["hydra/sweeper/sampler=grid", "rate=0.1,0.3", "kind=choice(a,b)"]
    order(tmp_path, 1, "kill once")
    assert sweep(*grid).returncode == -signal.SIGKILL
    assert sweep(*reversed(grid)).returncode == 0
    points = [(trial.params["rate"], trial.params["kind"]) for trial in trials(tmp_path)]
    assert points == [(rate, kind) for rate in (0.1, 0.3) for kind in "ab"]
