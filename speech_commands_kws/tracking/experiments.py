"""The runs of an MLflow experiment as they are compared: read, selected, ranked.

A run is a row of what `mlflow.search_runs` returns: its metrics, settings and tags are the columns `metrics.*`,
`params.*` and `tags.*`. The columns of `OWN` stand before them.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from tokenize import TokenError
from typing import TYPE_CHECKING

from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking.mlflow_run import SERVER_RUN_TAG
from speech_commands_kws.tracking.registry_fetch import mlflow_at
from speech_commands_kws.training.objectives import COUNTS, MAXIMIZE, MINIMIZE, best_first

if TYPE_CHECKING:
    from pandas import DataFrame, Series

METRICS, SETTINGS, TAGS = "metrics.", "params.", "tags."
OWN = ["run", "commit", "sweep", "status", "started", "run_id"]
PARENT, COPY_OF = f"{TAGS}mlflow.parentRunId", f"{TAGS}{SERVER_RUN_TAG}"
NAME, COMMIT, DIRTY = f"{TAGS}mlflow.runName", f"{TAGS}mlflow.source.git.commit", f"{TAGS}git.dirty"
LABELS = f"{TAGS}labels"
CHOICES = "choices."  # settings: the choice for each group, such as choices.augment=robust
NULL = "None"  # the text of a setting without a value
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
LATENCY = "onnx_latency_ms"
FLOAT = "f"  # the kind of a column of numbers
SIGNS = "== != >= <= = > <"
QUOTES = "'\""
WORD = rf"[^\s=!<>()\[\],{QUOTES}]+"
VALUE = rf"""'[^']*'|"[^"]*"|{WORD}"""
# A comparison, or what may stand between two of them.
PART = re.compile(
    rf"((?!(?:and|or|not)\s){WORD})\s*({SIGNS.replace(' ', '|')}|\s(?:not\s+)?in\b)\s*({VALUE}|\[[^]]*\])"
    r"|and|or|not|[()]",
    re.IGNORECASE,
)


def read_runs(uri: str, experiment: str) -> "DataFrame":
    """The runs of an experiment, the oldest first, without those that only hold the trials of a sweep together.

    A run that went on in a copy, because its server was lost, is there once: as the copy. A setting is a column of
    numbers if all its values are.

    Raises:
        KwsError: there is no such experiment, or no run in it, or the store refuses.
    """
    with mlflow_at(uri) as client:
        import mlflow

        found = client.get_experiment_by_name(experiment)
        if found is None:
            existing = sorted(each.name for each in client.search_experiments())
            raise KwsError(
                f"no experiment {experiment} in {uri}, there is {', '.join(existing)}: "
                "choose one with experiment_name="
            )
        runs = mlflow.search_runs([found.experiment_id], order_by=["start_time ASC"])
    needed = [NAME, PARENT, COPY_OF, COMMIT]
    runs = runs.reindex(columns=runs.columns.union(needed, sort=False))
    names = dict(zip(runs["run_id"], runs[NAME]))
    sweeps = runs[PARENT].map(lambda run_id: names.get(run_id, run_id))
    runs = runs.assign(run=runs[NAME], commit=runs[COMMIT], sweep=sweeps)
    runs = runs[~runs["run_id"].isin([*runs[PARENT], *runs[COPY_OF]])]
    if runs.empty:
        raise KwsError(f"no run in the experiment {experiment} of {uri} yet: train first")
    runs["started"] = runs["start_time"].dt.strftime(TIME_FORMAT)
    numbers = runs.filter(regex=f"^({METRICS}|{SETTINGS})").apply(_as_numbers)
    recorded = runs.filter(regex=f"^({METRICS}|{SETTINGS}|{TAGS})").assign(**numbers)
    for name in COUNTS:  # which version 0.1 recorded as metrics
        if METRICS + name in recorded:
            before = recorded.pop(METRICS + name)
            recorded[SETTINGS + name] = recorded.get(SETTINGS + name, before).fillna(before)
    return runs[OWN].join(recorded.dropna(axis="columns", how="all"))


def _as_numbers(column: "Series") -> "Series":
    """The column as numbers if it holds nothing else."""
    column = column.mask(column == NULL)
    try:
        numbers = column.astype(float)
    except ValueError:
        return column
    # A database has no infinity: MLflow writes the largest number.
    return numbers.where(numbers.abs() < sys.float_info.max)


def columns_by_name(runs: "DataFrame") -> dict[str, str]:
    """The column of everything that a condition, a column or the order may name; of several the first."""
    return {column.partition(".")[2] or column: column for column in reversed(runs.columns)}


def select(runs: "DataFrame", where: str) -> "DataFrame":
    """The runs that meet a condition such as `optimizer.lr > 0.01 and data = synthetic`.

    It becomes a query of pandas, so it may have `or`, `not`, `in [...]` and parentheses. Each comparison begins with a
    name, and a run without that does not meet it.

    Raises:
        KwsError: it cannot be read, it names what no run has, or no run meets it.
    """
    columns: dict[str, Series] = {}

    def as_query(part: re.Match[str]) -> str:
        """The part with a name and values of our own writing: nothing that a user wrote is evaluated."""
        name, sign, value = part.groups()
        if name is None:
            return f" {part[0].lower()} "
        require(runs, [name], "where")
        column = runs[columns_by_name(runs)[name]]
        is_choice = sign.lower().endswith("in")
        values = [
            word.strip(QUOTES) for word in (re.findall(VALUE, value) if is_choice else [value])
        ]
        if column.dtype.kind == FLOAT or sign[0] in "<>":
            try:
                column, values = column.astype(float), list(map(float, values))
            except ValueError:
                raise KwsError(
                    f"{part[0]!r} needs numbers on both sides: texts take =, != or in"
                ) from None
        key = f"column_{len(columns)}"
        columns[key] = column
        sign = "==" if sign == "=" else sign.lower()
        # What is missing equals nothing, not even itself.
        return f"{key} == {key} {sign} {values if is_choice else values[0]!r}"

    query = PART.sub(as_query, where)
    try:
        if not columns or PART.sub("", where).strip():
            raise SyntaxError
        kept = runs.loc[runs[[]].assign(**columns).query(query).index]
    except (NameError, SyntaxError, TypeError, ValueError, TokenError) as error:
        raise KwsError(
            f"expected where='NAME SIGN VALUE and ...' with a sign of {SIGNS} or in [VALUE, ...], "
            f"and texts with spaces in quotes, got {where!r}"
        ) from error
    if kept.empty:
        raise KwsError(f"none of the {len(runs)} runs meets where={where!r}: relax the conditions")
    return kept


def require(runs: "DataFrame", names: Iterable[str], key: str) -> None:
    """Refuse names that no run has.

    Raises:
        KwsError: names what is alike, or else the metrics, which are few.
    """
    known = columns_by_name(runs)
    for name in names:
        if name not in known:
            longer = sorted(each for each in known if each.endswith(f".{name}"))
            alike = ", ".join(longer or get_close_matches(name, known)) or metric_names(runs)
            raise KwsError(f"no run has {name}, asked for by {key}=: choose from {alike}")


def metric_names(runs: "DataFrame") -> str:
    metrics = runs.filter(regex=f"^{METRICS}").columns.str.removeprefix(METRICS)
    counts = [name for name in COUNTS if SETTINGS + name in runs]
    return ", ".join(sorted([*metrics, *counts])) or "none, nothing was measured yet"


def rank(runs: "DataFrame", metric: str, descending: bool) -> "DataFrame":
    """Best first; equals in the order given, runs without a finite value last.

    Raises:
        KwsError: no run has the metric, or it is not a number.
    """
    require(runs, [metric], "metric")
    column = columns_by_name(runs)[metric]
    if runs[column].dtype.kind != FLOAT:
        raise KwsError(f"metric={metric} is not a number: choose from {metric_names(runs)}")
    return runs.iloc[best_first(runs[column], MAXIMIZE if descending else MINIMIZE)]


def varied_settings(runs: "DataFrame", ignored: Sequence[str]) -> list[str]:
    """Settings in which the runs differ; of those that follow each other the one with the shortest name.

    A run that ended before it recorded any does not count. What follows from the choice for its group, such as
    augment=robust, is told by that choice, where it is recorded.
    """
    settings = runs.filter(regex=f"^{SETTINGS}").dropna(how="all")
    settings.columns = settings.columns.str.removeprefix(SETTINGS)
    settings = settings.drop(columns=list(COUNTS), errors="ignore")  # they have their own columns
    varied = settings.loc[:, settings.nunique(dropna=False) > 1]
    for choice in [name for name in varied if name.startswith(CHOICES)]:
        group = f"{choice.removeprefix(CHOICES)}."
        within = varied.groupby(choice, dropna=False).nunique(dropna=False).max()
        follows = [name for name in within.index if name.startswith(group) and within[name] == 1]
        varied = varied.drop(columns=follows)
    below = tuple(f"{key}." for key in ignored)
    names = [name for name in varied if not f"{name}.".startswith(below)]
    names.sort(key=lambda name: (not name.startswith(CHOICES), len(name), name))
    kept = sorted(varied[names].T.drop_duplicates().index)
    return sorted(kept, key=lambda name: not name.startswith(CHOICES))


def keyword_sets(runs: "DataFrame") -> int:
    """How many different lists of labels the runs have learnt."""
    return runs[LABELS].nunique() if LABELS in runs else 1


def summarize(ranked: "DataFrame", metric: str, columns: Sequence[str]) -> "DataFrame":
    """The facts about each run, in the order in which they are shown; None where there is nothing to say."""
    by_name = columns_by_name(ranked) | {"dirty": DIRTY}
    own = ["data", "data_fingerprint", "commit", "dirty", *OWN[2:]]
    names = list(dict.fromkeys(["run", metric, *columns, *COUNTS, LATENCY, *own]))
    facts = ranked.reindex(columns=[by_name.get(name, name) for name in names]).set_axis(
        names, axis=1
    )
    facts["dirty"] = facts["dirty"] == "true"
    facts.insert(0, "place", range(1, len(facts) + 1))
    # Whole numbers without a decimal point, also in columns that are not full.
    facts = facts.convert_dtypes()
    return facts.astype(object).where(facts.notna(), None)
