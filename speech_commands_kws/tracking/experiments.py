"""The runs of an MLflow experiment as they are compared: read, filtered, ranked."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from speech_commands_kws.errors import KwsError, summarize_error
from speech_commands_kws.tracking.mlflow_run import SERVER_RUN_TAG, client_of

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PARENT = "mlflow.parentRunId"
COMMIT, DIRTY = "mlflow.source.git.commit", "git.dirty"
RUNS_A_PAGE = 1000
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
MS_PER_SECOND = 1000
NUMERIC = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
COMPARISONS = {**NUMERIC, "!=": operator.ne, "==": operator.eq, "=": operator.eq}
CONDITION = re.compile(rf"\s*([\w./-]+)\s*({'|'.join(COMPARISONS)})\s*(.+?)\s*")
AND = re.compile(r"\s+and\s+", re.IGNORECASE)
WHOLE = re.compile(r"-?[0-9]+")
QUOTES = "'\""


@dataclass(frozen=True)
class Standing:
    """A run as its record tells it.

    Attributes:
        run, run_id, status: its name, its identifier, RUNNING or FINISHED and so on.
        started: UTC, to the second, ISO 8601.
        sweep: the name of the run that it is a trial of.
        settings: parameters, by the name that overrides them.
        metrics: the last value of each.
    """

    run: str
    run_id: str
    status: str
    started: str
    sweep: str | None
    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Everything that a filter, a column or the order may name."""
        own = {"run": self.run, "status": self.status, "sweep": self.sweep, "commit": self.commit}
        return {**self.tags, **self.settings, **self.metrics, **own}

    @property
    def commit(self) -> str | None:
        return self.tags.get(COMMIT)

    @property
    def dirty(self) -> bool:
        return self.tags.get(DIRTY) == "true"

    def value(self, name: str) -> Any:
        """A field; a setting, of which the store has the text, as a number where it is one."""
        value = self.fields.get(name)
        number = self.number(name) if name in self.settings else None
        if number is None:
            return value
        return int(value) if WHOLE.fullmatch(str(value)) else number

    def number(self, name: str) -> float | None:
        """A field as a number; None where it is missing, no number, or not finite."""
        value = as_number(self.fields.get(name))
        return value if value is not None and math.isfinite(value) else None


class Condition(NamedTuple):
    name: str
    sign: str
    value: str

    def holds(self, standing: Standing) -> bool:
        """A run without the field does not meet the condition. What look like numbers are compared as such."""
        found = standing.fields.get(self.name)
        if found is None:
            return False
        numbers = as_number(found), as_number(self.value)
        if None not in numbers:
            return COMPARISONS[self.sign](*numbers)
        return self.sign not in NUMERIC and COMPARISONS[self.sign](str(found), self.value)


def as_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def read_standings(uri: str, experiment: str) -> list[Standing]:
    """The runs of an experiment, without those that only hold the trials of a sweep together.

    A run that went on in a copy, because its server was lost, is there once: as the copy.

    Raises:
        KwsError: there is no such experiment, or no run in it, or the store refuses.
    """
    client = client_of(uri)
    from mlflow.exceptions import MlflowException

    try:
        runs = list(_runs(client, experiment))
    except MlflowException as error:
        raise KwsError(f"the MLflow store {uri} refused: {summarize_error(error)}") from error
    names = {run.info.run_id: run.info.run_name for run in runs}
    parents = {run.data.tags.get(PARENT) for run in runs}
    copied = {run.data.tags.get(SERVER_RUN_TAG) for run in runs}
    found = [_standing(run, names) for run in runs if run.info.run_id not in parents | copied]
    if not found:
        raise KwsError(f"no run in the experiment {experiment} of {uri} yet: train first")
    return found


def _runs(client: "MlflowClient", name: str) -> Iterator["Run"]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        existing = sorted(each.name for each in client.search_experiments())
        raise KwsError(
            f"no experiment {name} in {client.tracking_uri}, there is {', '.join(existing)}: "
            "choose one with experiment_name="
        )
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id], max_results=RUNS_A_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _standing(run: "Run", names: Mapping[str, str]) -> Standing:
    parent = run.data.tags.get(PARENT)
    started = datetime.fromtimestamp(run.info.start_time // MS_PER_SECOND, UTC)
    return Standing(
        run=run.info.run_name,
        run_id=run.info.run_id,
        status=run.info.status,
        started=started.strftime(TIME_FORMAT),
        sweep=parent and names.get(parent, parent),
        settings=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )


def parse_conditions(text: str) -> list[Condition]:
    """`"optimizer.lr > 0.01 and data = synthetic"` in parts.

    Raises:
        KwsError: a part is no condition.
    """
    conditions = []
    for part in AND.split(text.strip()):
        match = CONDITION.fullmatch(part)
        if match is None:
            signs = " ".join(COMPARISONS)
            raise KwsError(
                f"expected where='NAME SIGN VALUE and ...' with a sign of {signs}, got {part!r}"
            )
        name, sign, value = match.groups()
        conditions.append(Condition(name, sign, value.strip(QUOTES)))
        if sign in NUMERIC and as_number(conditions[-1].value) is None:
            raise KwsError(f"expected a number after {sign}, got {part!r}: texts take = or !=")
    return conditions


def require(standings: Sequence[Standing], names: Iterable[str], key: str) -> None:
    """Refuse names that no run has.

    Raises:
        KwsError: names what is alike, or else the metrics, which are few.
    """
    known = {name for standing in standings for name in standing.fields}
    for name in names:
        if name not in known:
            metrics = {name for standing in standings for name in standing.metrics}
            longer = sorted(each for each in known if each.endswith(f".{name}"))
            alike = longer or get_close_matches(name, known) or sorted(metrics) or sorted(known)
            raise KwsError(
                f"no run has {name}, asked for by {key}=: choose from {', '.join(alike)}"
            )


def require_metric(standings: Sequence[Standing], metric: str) -> None:
    """Refuse to rank by what is a number in no run; raises KwsError that names the metrics."""
    if all(as_number(standing.fields.get(metric)) is None for standing in standings):
        metrics = sorted({name for standing in standings for name in standing.metrics})
        raise KwsError(
            f"no run has a number {metric}, asked for by metric=: "
            f"choose from {', '.join(metrics) or 'none, nothing was measured yet'}"
        )


def rank(standings: Iterable[Standing], metric: str, descending: bool) -> list[Standing]:
    """Best first; equals by their start, runs without a finite value last."""
    sign = -1 if descending else 1

    def place(standing: Standing) -> tuple[float, str]:
        value = standing.number(metric)
        return math.inf if value is None else sign * value, standing.started

    return sorted(standings, key=place)


def varied_settings(standings: Sequence[Standing], ignored: Sequence[str]) -> list[str]:
    """Settings in which the runs differ; of those that follow each other the one with the shortest name.

    A run that ended before it recorded any does not count.
    """
    standings = [standing for standing in standings if standing.settings]
    is_ignored = _below(ignored)
    shortest: dict[tuple[str | None, ...], str] = {}
    names = {name for standing in standings for name in standing.settings if not is_ignored(name)}
    for name in sorted(names, key=lambda name: (len(name), name)):
        values = tuple(standing.settings.get(name) for standing in standings)
        if len(set(values)) > 1:
            shortest.setdefault(values, name)
    return sorted(shortest.values())


def _below(keys: Sequence[str]) -> Callable[[str], bool]:
    return lambda name: any(f"{name}.".startswith(f"{key}.") for key in keys)


def pareto_front(points: Sequence[tuple[float, float]], descending: bool) -> list[int]:
    """Indices of the points (cost, value) that no other beats, by rising cost.

    A point is beaten by one that costs no more and is better, or is as good and costs less.
    """
    sign = -1 if descending else 1
    front: list[int] = []
    best = math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], sign * points[i][1])):
        if sign * points[i][1] < best:
            best = sign * points[i][1]
            front.append(i)
    return front
