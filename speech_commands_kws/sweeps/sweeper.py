"""Hydra's sweeper for searches that lose nothing, on top of hydra-optuna-sweeper.

Hydra loads this module at the start of every command, so it imports nothing slow.
"""

import hashlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import settings_of
from speech_commands_kws.errors import (
    KwsError,
    SettingError,
    check_positive,
    check_whole,
    summarize_error,
)
from speech_commands_kws.sweeps.results import (
    OK,
    PRUNED,
    format_value,
    outcome_of,
    read_result,
    write_result,
)
from speech_commands_kws.sweeps.space import SearchSpace, grid, read_space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from speech_commands_kws.sweeps.study import SharedStudy

SEED_BYTES = 4
TRIAL_KEY = "sweep.trial"
# What may differ between two starts of one study: how it is run, not what is searched.
FREE_KEYS = ("hydra", "logger", "paths", "sweep", "trainer.accelerator", "trainer.devices")
REQUIRED = ("name", "storage", "trials", "seed", "jobs", "attempts")
PLAIN_KEY = re.compile(r"[\w.]+")
# Of a folder, and in a query of MLflow.
NAME_FORM = re.compile(r"\w[\w .,+=@()-]*")
GRID = "optuna.samplers.GridSampler"


class StudySweeper(Sweeper):
    """Trains the trials of a study until it has `trials` finished ones, whoever works on it beside this process.

    Parameters and samplers are those of hydra-optuna-sweeper (`hydra/sweeper/sampler=tpe`, `interval(…)`, …). Each
    trial samples with a seed of its own, from `seed` and its number, so that a sweep that was killed goes on with
    the samples it would have drawn.

    Args:
        name: of the study; starting again with the same name goes on with it.
        storage: its address, see `study.open_storage`.
        trials: how many finished trials there are in the end, all starts and processes together; a grid has one for
            each point.
        objectives: what train returns, in its order, and whether to maximize or minimize it.
        sampler: node of an Optuna sampler.
        seed: of the samples.
        jobs: trials launched at once; 1 unless the launcher is a parallel one.
        attempts: how often a trial is begun before the death of its processes counts as its failure.
        lost_after_seconds: how long another process may be silent before its trials are taken over.
        heartbeat_seconds: how often this process shows that it lives.
        prunes: whether trials may be stopped early.
        params: what is searched, as hydra-optuna-sweeper writes it.
    """

    def __init__(
        self,
        name: str,
        storage: str,
        trials: int,
        objectives: dict[str, str],
        sampler: Any,
        seed: int,
        jobs: int,
        attempts: int,
        lost_after_seconds: float,
        heartbeat_seconds: float,
        prunes: bool,
        params: dict[str, str] | None,
    ) -> None:
        self.name, self.storage, self.trials = name, storage, trials
        self.objectives, self.sampler, self.seed = dict(objectives), sampler, seed
        self.jobs, self.attempts, self.prunes = jobs, attempts, prunes
        self.lost_after_seconds, self.heartbeat_seconds = lost_after_seconds, heartbeat_seconds
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> None:
        study, space, points = self.open(arguments, self.config)
        count = self.trials if points is None else len(points)
        study.prepare(count)
        begun = len(study.trials(count)) - len(finished(study, count))
        say(f"study {self.name} in {self.storage}: {begun} of {count} trials to go")
        overrides = [*(f"{key}={value}" for key, value in space.fixed.items()), *space.deleted]
        try:
            while batch := self._next_batch(study, count, space.searched, points):
                self._launch(study, batch, overrides)
        except KeyboardInterrupt:
            raise KwsError(
                f"interrupted; the same command goes on with the study {self.name}"
            ) from None
        self._check_success(study, count)

    def open(
        self, arguments: Sequence[str], config: DictConfig
    ) -> tuple["SharedStudy", SearchSpace, list[dict[str, Any]] | None]:
        """The study, what it searches, and the points of a grid; nothing is made where the settings do not fit.

        Raises:
            KwsError: they do not, or the study under this name searches something else.
        """
        from speech_commands_kws.sweeps.study import SharedStudy

        for key in REQUIRED:
            if getattr(self, key) is None:
                raise KwsError(f"sweep.{key} must be given where a study is searched, got null")
        with settings_of("sweep"):
            check_whole(trials=self.trials, jobs=self.jobs, attempts=self.attempts)
            check_whole(0, seed=self.seed)
            check_positive(lost_after_seconds=self.lost_after_seconds)
            check_positive(heartbeat_seconds=self.heartbeat_seconds)
            if not NAME_FORM.fullmatch(str(self.name)):
                raise SettingError(
                    f"name must be a name for a folder, of letters, digits and . , + = @ ( ) _ -, got {self.name!r}"
                )
        if self.prunes and len(self.objectives) > 1:
            raise KwsError(
                "expected one objective where trials are pruned, got "
                f"{', '.join(self.objectives)}; add sweep/pruner=none"
            )
        space = read_space([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        for key in space.searched:
            if is_missing(key, config):
                raise KwsError(f"there is no setting {key} to search; +{key}=… would add one")
        if self._is_grid():
            grid(space.searched)
        self._build_sampler(self.seed)
        study = SharedStudy(
            self.name,
            self.storage,
            list(self.objectives.values()),
            self.lost_after_seconds,
            self.heartbeat_seconds,
            self.attempts,
        )
        fixed = {key: value for key, value in space.fixed.items() if not is_free(key)}
        ordered = study.check_space(space.searched, fixed)
        return study, space, grid(ordered) if self._is_grid() else None

    def _is_grid(self) -> bool:
        return self.sampler.get("_target_") == GRID

    def _next_batch(
        self,
        study: "SharedStudy",
        count: int,
        searched: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]] | None,
    ) -> list["Trial"]:
        """Up to `jobs` trials to train now; none once all are finished. Waits for those of other processes."""
        batch: list[Trial] = []
        has_waited = False
        while len(finished(study, count)) + len(batch) < count:
            trial_id = study.claim(count)
            if trial_id is not None:
                number = study.storage.get_trial(trial_id).number
                if points is not None:
                    study.set_params(trial_id, points[number])
                trial = study.sampled(trial_id, self._sampler(number), searched)
                if duplicate := study.duplicate_of(trial, count):
                    trial.set_user_attr("same_as", duplicate.number)
                    study.study.tell(trial.number, duplicate.values)
                else:
                    batch.append(trial)
                if len(batch) == self.jobs:
                    break
            elif batch:
                break
            else:
                if not has_waited:
                    say("waiting for the trials of other processes")
                has_waited = True
                time.sleep(1)
        return batch

    def _sampler(self, number: int) -> Any:
        """A sampler with the trial's own seed."""
        digest = hashlib.sha256(f"{self.seed} {number}".encode()).digest()
        return self._build_sampler(int.from_bytes(digest[:SEED_BYTES], "big"))

    def _build_sampler(self, seed: int) -> Any:
        from hydra.utils import instantiate
        from optuna.samplers import RandomSampler

        if self._is_grid():
            return RandomSampler(seed)  # not asked: the points are fixed
        try:
            return instantiate(
                self.sampler,
                seed=seed,
                _execution_whitelist_=("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*"),
            )
        except (TypeError, ValueError, HydraException) as error:
            reason = " ".join(str(error).split())
            raise KwsError(f"the sampler cannot be made of its settings: {reason}") from error

    def _launch(
        self, study: "SharedStudy", batch: Sequence["Trial"], overrides: Sequence[str]
    ) -> None:
        jobs = []
        for trial in batch:
            chosen = [f"{key}={value}" for key, value in trial.params.items()]
            say(f"trial {trial.number}: {' '.join(chosen)}")
            jobs.append([*chosen, *overrides, f"{TRIAL_KEY}={trial.number}"])
        trial_ids = [trial._trial_id for trial in batch]
        try:
            with study.kept_alive(trial_ids):
                returns = self.launcher.launch(jobs, initial_job_idx=batch[0].number)
                outcomes = [outcome_of(done, len(self.objectives)) for done in returns]
        except (KeyboardInterrupt, HydraException) as error:
            for trial_id in trial_ids:
                study.release(trial_id)
            if isinstance(error, HydraException):  # the jobs cannot be composed, now or ever
                raise KwsError(str(error).replace("\n", " ")) from error
            raise
        except (RuntimeError, OSError, *ray_errors()) as error:  # a parallel launcher lost a worker
            reason = f"{type(error).__name__}: {summarize_error(error)}"
            outcomes = [self._left_on_disk(trial) or reason for trial in batch]
        for trial, job, outcome in zip(batch, jobs, outcomes, strict=True):
            self._settle(study, trial, job, outcome)

    def _left_on_disk(self, trial: "Trial") -> list[float] | None:
        """The result of a job that ended well before its launcher failed."""
        result = read_result(self._folder(trial))
        return result["values"] if result and result["status"] == OK else None

    def _folder(self, trial: "Trial") -> Path:
        return Path(self.config.hydra.sweep.dir) / str(trial.number)

    def _settle(
        self, study: "SharedStudy", trial: "Trial", job: Sequence[str], outcome: list[float] | str
    ) -> None:
        """Tell the study what came of a trial, and its folder where only the study knows."""
        from optuna.trial import TrialState

        from speech_commands_kws.sweeps.study import PRUNED_AFTER

        frozen = study.storage.get_trial(trial._trial_id)
        if isinstance(outcome, str):
            study.fail(trial, outcome)
            status = outcome
        elif frozen.user_attrs.get(PRUNED_AFTER) is not None:
            study.study.tell(trial.number, state=TrialState.PRUNED)
            status = PRUNED
        else:
            study.study.tell(trial.number, outcome)
            status = OK
        reached = "" if isinstance(outcome, str) else " ".join(map(format_value, outcome))
        say(f"trial {trial.number}: {status} {reached}")
        if status != OK:
            values = None if isinstance(outcome, str) else outcome
            write_result(self._folder(trial), job, values, status)

    def _check_success(self, study: "SharedStudy", count: int) -> None:
        """Raises KwsError where no trial has succeeded."""
        from speech_commands_kws.sweeps.study import REASON

        done = finished(study, count)
        if not any(each.values for each in done):
            raise KwsError(
                f"none of the {count} trials of {self.name} has succeeded, the first: "
                f"{done[0].user_attrs.get(REASON, '')}; with other settings give the study another sweep.name, with "
                "these more sweep.trials"
            )


def finished(study: "SharedStudy", count: int) -> list["FrozenTrial"]:
    return [each for each in study.trials(count) if each.state.is_finished()]


def is_missing(key: str, config: DictConfig) -> bool:
    """Whether a key changes a setting, and neither adds one nor chooses from a group, and there is none such."""
    if not PLAIN_KEY.fullmatch(key):
        return False
    return OmegaConf.select(config, key, default=key) is key


def is_free(key: str) -> bool:
    key = key.lstrip("+~")
    return any(key == free or key.startswith((f"{free}.", f"{free}/")) for free in FREE_KEYS)


def ray_errors() -> list[type[Exception]]:
    """Ray's errors have no base that other engines share; it is loaded where it is the launcher."""
    loaded = sys.modules.get("ray.exceptions")
    return [loaded.RayError] if loaded else []


def say(line: str) -> None:
    """On standard error: the log is set up by the jobs, and theirs."""
    print(line, file=sys.stderr, flush=True)
