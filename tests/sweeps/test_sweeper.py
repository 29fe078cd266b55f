"""The sweeper in this process, with a launcher that trains nothing; see `test_sweeper_processes` for kills."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.results import read_result
from speech_commands_kws.sweeps.sweeper import StudySweeper

TPE = {"_target_": "optuna.samplers.TPESampler"}
GRID = {"_target_": "optuna.samplers.GridSampler"}


def squared(job: dict[str, str]) -> float:
    return -((float(job["rate"]) - 0.3) ** 2)


def launcher(train: Callable[[dict[str, str]], Any], jobs: list) -> SimpleNamespace:
    """Runs jobs one after the other; what is raised becomes the result of a failed job, as Hydra has it."""

    def run(overrides: list[str]) -> JobReturn:
        job = dict(each.split("=") for each in overrides)
        jobs.append(job)
        done = JobReturn(overrides=overrides)
        try:
            done.return_value, done.status = train(job), JobStatus.COMPLETED
        except KwsError as error:
            done.return_value, done.status = error, JobStatus.FAILED
        return done

    return SimpleNamespace(
        launch=lambda batch, initial_job_idx: [run(overrides) for overrides in batch]
    )


def sweep(
    folder: Path, *arguments: str, train: Callable = squared, **changes
) -> list[dict[str, str]]:
    """The jobs that a start of the sweeper trains."""
    settings = {
        "name": "test",
        "storage": f"sqlite:///{folder}/studies.db",
        "trials": 5,
        "objectives": {"validation_accuracy": "maximize"},
        "sampler": OmegaConf.create(TPE),
        "seed": 0,
        "jobs": 1,
        "attempts": 2,
        "lost_after_seconds": 30,
        "heartbeat_seconds": 5,
        "prunes": False,
        "params": {"rate": "interval(0,1)"},
    }
    sweeper = StudySweeper(**settings | changes)
    jobs: list[dict[str, str]] = []
    sweeper.launcher = launcher(train, jobs)
    sweeper.config = OmegaConf.create(
        {"rate": 0.5, "kind": "a", "hydra": {"sweep": {"dir": str(folder / "sweep")}}}
    )
    sweeper.sweep(list(arguments))
    return jobs


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="test", storage=f"sqlite:///{folder}/studies.db").trials


def test_a_small_study_is_finished_once_and_goes_on(tmp_path: Path) -> None:
    jobs = sweep(tmp_path)
    assert [job["sweep.trial"] for job in jobs] == list("01234")
    assert sweep(tmp_path) == []
    more = sweep(tmp_path, trials=7, jobs=2)
    assert [job["sweep.trial"] for job in more] == ["5", "6"]
    rates = [trial.params["rate"] for trial in trials(tmp_path)]
    assert rates == [float(job["rate"]) for job in jobs + more] and len(set(rates)) == 7


def test_a_seed_gives_the_samples(tmp_path: Path) -> None:
    first = [job["rate"] for job in sweep(tmp_path / "a")]
    assert [job["rate"] for job in sweep(tmp_path / "b")] == first
    assert not {job["rate"] for job in sweep(tmp_path / "c", seed=1)} & set(first)


def test_a_grid_trains_every_point(tmp_path: Path) -> None:
    grid = {"sampler": OmegaConf.create(GRID), "params": None}
    jobs = sweep(tmp_path, "rate=0.1,0.3", "kind=a,b", **grid)
    points = [(job["rate"], job["kind"]) for job in jobs]
    assert points == [("0.1", "a"), ("0.1", "b"), ("0.3", "a"), ("0.3", "b")]


def test_a_failure_is_recorded_and_a_duplicate_is_not_trained(tmp_path: Path) -> None:
    def train(job: dict[str, str]) -> float:
        if job["kind"] == "b":
            raise KwsError("the loss became NaN")
        return 1.0

    jobs = sweep(tmp_path, train=train, params={"kind": "choice(a,b)"}, trials=8)
    assert sum(job["kind"] == "a" for job in jobs) == 1
    failed = next(job["sweep.trial"] for job in jobs if job["kind"] == "b")
    assert read_result(tmp_path / "sweep" / failed)["status"] == "KwsError: the loss became NaN"
    assert trials(tmp_path)[int(failed)].state == optuna.trial.TrialState.FAIL
    assert all(trial.state.is_finished() for trial in trials(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), None, [1.0, 2.0]])
def test_a_study_without_a_value_is_an_error(tmp_path: Path, value: Any) -> None:
    with pytest.raises(KwsError, match="none of the 2 trials of test has succeeded.* expected"):
        sweep(tmp_path, train=lambda job: value, trials=2)


def test_an_interruption_gives_the_trial_back(tmp_path: Path) -> None:
    def interrupt(job: dict[str, str]) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KwsError, match="the same command goes on with the study test"):
        sweep(tmp_path, train=interrupt)
    assert len(sweep(tmp_path)) == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trials": None}, "sweep.trials must be given"),
        ({"prunes": True, "objectives": {"a": "maximize", "b": "minimize"}}, "one objective"),
        ({"params": {"speed": "interval(0,1)"}}, "there is no setting speed"),
        ({"sampler": OmegaConf.create(GRID)}, "lists of values for a grid"),
        ({"params": {"rate": "0.1"}}, "expected something to search"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict, reason: str) -> None:
    with pytest.raises(KwsError, match=reason):
        sweep(tmp_path, **changes)
    assert not list(tmp_path.iterdir())
