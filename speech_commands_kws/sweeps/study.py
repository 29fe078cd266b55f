"""Studies that several processes share, and that survive every one of them.

A study has all its trials from the start, as waiting ones. A process claims a waiting trial, which the storage grants
once, and shows that it lives by a time stamp on the trial. A trial whose process is silent is taken over: its numbers
and its folder stay, so that its training goes on from the last checkpoint.

Optuna's own means would not keep that. `RDBStorage(heartbeat_interval=…)` is for databases alone, not for a journal on
a shared disk; it fails a silent trial and retries it (`RetryHeartbeatStaleTrialCallback`) as a new one, with another
number, folder and seed, so that the failure takes one of the places of the study; and it waits out its grace period
where the number of a dead process tells at once. `MaxTrialsCallback` counts when a trial has ended, so that processes
that share a study would each train one too many.
"""

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
import psutil
from filelock import FileLock
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import OptunaError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from speech_commands_kws.cli.passwords import STORAGE_PASSWORD, with_password
from speech_commands_kws.errors import KwsError, summarize_error

SQLITE_PREFIX = "sqlite:///"
JOURNAL_PREFIX = "journal:///"
LOCK_SECONDS = 60
SETTLE_SECONDS = 1.0
# Attributes of a study and of its trials.
SPACE = "space"
SEEN, OWNER, ATTEMPTS, REASON = "seen", "owner", "attempts", "reason"
PRUNED_AFTER = "pruned_after_epoch"
RELEASED = 0.0  # instead of the time at which a process was seen
FIXED_PARAMS = "fixed_params"  # Optuna's own, as `enqueue_trial` sets it
CREATION_PAUSES = 0.2, 1.0  # seconds
PROCESS_NAMES = Path("/proc/self/ns/pid")


def open_storage(address: str) -> BaseStorage:
    """An Optuna storage by its address: `sqlite:///FILE`, any other database address, or `journal:///FILE`.

    A journal file may lie on a disk that several machines share.

    Raises:
        KwsError: nothing can be opened there, or the database's driver is missing.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_journal = address.startswith(JOURNAL_PREFIX)
    prefix = JOURNAL_PREFIX if is_journal else SQLITE_PREFIX
    try:
        if address.startswith(prefix):
            Path(address.removeprefix(prefix)).parent.mkdir(parents=True, exist_ok=True)
        if is_journal:
            return open_journal(address.removeprefix(prefix))
        return _open_database(with_password(address, STORAGE_PASSWORD))
    except (SQLAlchemyError, ImportError, OSError, ValueError, OptunaError) as error:
        raise KwsError(
            f"expected a storage for the study at sweep.storage={address}, got "
            f"{type(error).__name__}: {summarize_error(error)}; "
            "give an address such as sqlite:////folder/studies.db"
        ) from error


def open_journal(file: str) -> JournalStorage:
    """A journal, without a last line that a killed process has left unfinished: the next one would be glued to it."""
    lock = JournalFileSymlinkLock(file)
    backend = JournalFileBackend(file, lock)
    lock.acquire()
    try:
        with Path(file).open("rb+") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)
    finally:
        lock.release()
    return JournalStorage(backend)


def _open_database(address: str) -> RDBStorage:
    patience = {"timeout": LOCK_SECONDS} if address.startswith(SQLITE_PREFIX) else {}
    settings = {"connect_args": patience}
    for pause in CREATION_PAUSES:
        try:
            return RDBStorage(address, engine_kwargs=settings)
        except DatabaseError:  # several processes that begin at once create the same tables
            time.sleep(pause)
    return RDBStorage(address, engine_kwargs=settings)


class SharedStudy:
    """One study, seen from one of the processes that work on it.

    Args:
        name: of the study; a second start with the same name goes on with it.
        address: of the storage.
        directions: minimize or maximize, one for each objective.
        lost_after_seconds: how long a process may be silent before its trials are taken over.
        heartbeat_seconds: how often this process shows that it lives.
        attempts: how often a trial is begun, before the death of its processes counts as its failure.
    """

    def __init__(
        self,
        name: str,
        address: str,
        directions: list[str],
        lost_after_seconds: float,
        heartbeat_seconds: float,
        attempts: int,
    ):
        self.lost_after_seconds, self.heartbeat_seconds = lost_after_seconds, heartbeat_seconds
        self.attempts = attempts
        # The last time stamp seen of each trial of others, and when: their clocks may differ from this one's.
        self.observed: dict[int, tuple[float | None, float]] = {}
        self.storage = open_storage(address)
        # SQLite has no SELECT … FOR UPDATE, by which Optuna gives a waiting trial to one process only.
        self.claiming = (
            FileLock(f"{address.removeprefix(SQLITE_PREFIX)}.lock")
            if address.startswith(SQLITE_PREFIX)
            else nullcontext()
        )
        self.study = optuna.create_study(
            study_name=str(name),
            storage=self.storage,
            sampler=RandomSampler(),
            directions=directions,
            load_if_exists=True,
        )
        wanted = [StudyDirection[direction.upper()] for direction in directions]
        if self.study.directions != wanted:
            raise self._other_study("objectives", wanted, self.study.directions)

    def _other_study(self, what: str, wanted: Any, had: Any) -> KwsError:
        return KwsError(
            f"expected the {what} that the study {self.study.study_name} began with ({had}), got {wanted}; "
            f"give the new study another name: sweep.name=..."
        )

    def check_space(
        self, distributions: Mapping[str, BaseDistribution], fixed: Mapping[str, Any]
    ) -> dict[str, BaseDistribution]:
        """Refuse to mix trials of two searches in one study; returns the distributions in their first order.

        Raises:
            KwsError: the study began with another search space or other fixed settings.
        """
        space = {name: distribution_to_json(each) for name, each in distributions.items()}
        space |= {name: str(value) for name, value in fixed.items()}
        had = self.study.user_attrs.get(SPACE)
        if had is None:
            self.study.set_user_attr(SPACE, space)
        elif had != space:
            changed = sorted(
                name for name in had.keys() | space.keys() if had.get(name) != space.get(name)
            )
            raise self._other_study(
                "search",
                {name: space.get(name) for name in changed},
                {name: had.get(name) for name in changed},
            )
        return {name: distributions[name] for name in had or space if name in distributions}

    def prepare(self, count: int) -> None:
        """Have at least `count` trials in all; processes that begin at once may make more, which nobody claims."""
        for _ in range(len(self.study.get_trials(deepcopy=False)), count):
            self.study.enqueue_trial({})

    def set_params(self, trial_id: int, point: Mapping[str, Any]) -> None:
        """Give a trial its parameters, instead of samples: those of its number, whoever made the trial."""
        self.storage.set_trial_system_attr(trial_id, FIXED_PARAMS, dict(point))

    def trials(self, count: int, *states: TrialState) -> list[FrozenTrial]:
        """Those among the first `count`, in the order of their numbers; of all states where none is named."""
        found = self.study.get_trials(deepcopy=False, states=states or None)
        return sorted((each for each in found if each.number < count), key=lambda each: each.number)

    def claim(self, count: int) -> int | None:
        """The id of a trial that is now this process's own: a waiting one, or one that its process left."""
        for trial in self.trials(count, TrialState.RUNNING):
            if self._is_lost(trial):
                if trial.user_attrs.get(ATTEMPTS, 0) < self.attempts:
                    if self._take_over(trial):
                        return trial._trial_id
                    continue
                self.fail(trial, f"its process was killed, {self.attempts} times")
        with self.claiming:
            for trial in self.trials(count, TrialState.WAITING):
                # The storage lets one process only take a trial out of the waiting state.
                if self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    return self._begin(trial)
        return None

    def _begin(self, trial: FrozenTrial) -> int:
        self.heartbeat([trial._trial_id])
        self.storage.set_trial_user_attr(trial._trial_id, OWNER, [machine(), os.getpid()])
        begun = trial.user_attrs.get(ATTEMPTS, 0) + 1
        self.storage.set_trial_user_attr(trial._trial_id, ATTEMPTS, begun)
        self.storage.set_trial_user_attr(trial._trial_id, PRUNED_AFTER, None)
        return trial._trial_id

    def _take_over(self, trial: FrozenTrial) -> bool:
        """Begin a lost trial, unless another process does so at the same moment: the last to sign has it."""
        self._begin(trial)
        time.sleep(SETTLE_SECONDS)
        return self.storage.get_trial(trial._trial_id).user_attrs[OWNER] == [machine(), os.getpid()]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        """Its process was silent for long while this one watched, gave it back, or was of this machine and is gone."""
        owner, process = trial.user_attrs.get(OWNER, (None, None))
        # None where it has just been claimed, and is not signed yet.
        seen = trial.user_attrs.get(SEEN)
        if seen == RELEASED or owner == machine() and not psutil.pid_exists(process):
            return True
        now = time.monotonic()
        last, since = self.observed.get(trial._trial_id, (None, now))
        if seen != last:
            since = now
        self.observed[trial._trial_id] = seen, since
        return now - since > self.lost_after_seconds

    def sampled(
        self,
        trial_id: int,
        sampler: BaseSampler,
        distributions: Mapping[str, BaseDistribution],
    ) -> Trial:
        """The trial with its parameters: those it has, or else new ones."""
        self.study.sampler = sampler
        trial = Trial(self.study, trial_id)
        for name, distribution in distributions.items():
            trial._suggest(name, distribution)
        return trial

    def duplicate_of(self, trial: Trial, count: int) -> FrozenTrial | None:
        """A completed trial with the same parameters, whose result a seeded training would only repeat."""
        done = self.trials(count, TrialState.COMPLETE)
        return next((each for each in done if each.params == trial.params), None)

    def heartbeat(self, trial_ids: Iterable[int]) -> None:
        for trial_id in trial_ids:
            self.storage.set_trial_user_attr(trial_id, SEEN, time.time())

    @contextmanager
    def kept_alive(self, trial_ids: Iterable[int]) -> Iterator[None]:
        """Show, while trials run, that they do."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(self.heartbeat_seconds):
                self.heartbeat(trial_ids)

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def release(self, trial_id: int) -> None:
        """Give a trial back, as if its process had been lost long ago: it can be taken over at once."""
        self.storage.set_trial_user_attr(trial_id, SEEN, RELEASED)
        begun = self.storage.get_trial(trial_id).user_attrs.get(ATTEMPTS, 1)
        self.storage.set_trial_user_attr(trial_id, ATTEMPTS, begun - 1)

    def fail(self, trial: Trial | FrozenTrial, reason: str) -> None:
        self.storage.set_trial_user_attr(trial._trial_id, REASON, reason)
        self.study.tell(trial.number, state=TrialState.FAIL)


def machine() -> str:
    """What tells this machine's process numbers from those of others, containers with its host name too."""
    name = socket.gethostname()
    return f"{name} {PROCESS_NAMES.readlink()}" if PROCESS_NAMES.is_symlink() else name


def load_study(name: str, address: str, pruner: BasePruner | None = None) -> Study:
    """A study that exists, to look at: nothing is sampled from it."""
    return optuna.load_study(
        study_name=str(name), storage=open_storage(address), sampler=RandomSampler(), pruner=pruner
    )


def load_trial(name: str, address: str, number: int, pruner: BasePruner | None) -> Trial:
    """A running trial of a study, for the process that trains it; its parameters are not sampled anew."""
    study = load_study(name, address, pruner)
    frozen = study.get_trials(deepcopy=False)[number]
    return Trial(study, frozen._trial_id)
