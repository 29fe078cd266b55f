"""The graphs of a search, drawn by Optuna."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from optuna.visualization import matplotlib as drawings

from speech_commands_kws.sweeps.comparison import has_value, varied_keys

INCHES = (9.0, 5.5)
HEADLESS = "agg"

LOG = logging.getLogger(__name__)


def study_of_grid(results: Sequence[Mapping[str, Any]], objectives: Mapping[str, str]) -> Study:
    """A study in memory of the jobs of a plain grid, which had no sampler, for the same graphs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=list(objectives.values()))
    values = {
        key: list(dict.fromkeys(result["overrides"].get(key, "") for result in results))
        for key in varied_keys(list(results))
    }
    numbers = {key: [as_number(text) for text in texts] for key, texts in values.items()}
    for result in filter(has_value, results):
        params, distributions = {}, {}
        for key, texts in values.items():
            text = result["overrides"].get(key, "")
            if None in numbers[key]:
                params[key], distributions[key] = text, CategoricalDistribution(texts)
            else:
                params[key] = as_number(text)
                distributions[key] = FloatDistribution(min(numbers[key]), max(numbers[key]))
        study.add_trial(
            create_trial(params=params, distributions=distributions, values=result["values"])
        )
    return study


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def plot_study(study: Study, objectives: Sequence[str], folder: Path) -> list[Path]:
    """PNG files of what Optuna can draw: history, importances and parallel coordinates, and the front of several.

    What needs more trials, or trials that differ, is left out.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with warnings.catch_warnings(
        record=True
    ) as notes:  # that these functions are experimental, each time
        for name, draw in graphs(study, objectives).items():
            try:
                with matplotlib.rc_context({"backend": HEADLESS, "figure.figsize": INCHES}):
                    paths.append(save(draw(), folder / f"{name}.png"))
            except (ValueError, RuntimeError) as error:
                LOG.info("no graph %s: %s", name, error)
    for note in notes:
        LOG.debug("%s", note.message)
    return paths


def graphs(study: Study, objectives: Sequence[str]) -> dict[str, Callable[[], Any]]:
    if len(objectives) == 1:
        named: dict[str, Any] = {"target_name": objectives[0]}
        return {
            "optimization_history": partial(drawings.plot_optimization_history, study, **named),
            "parameter_importances": partial(drawings.plot_param_importances, study),
            "parallel_coordinates": partial(drawings.plot_parallel_coordinate, study, **named),
        }
    found: dict[str, Callable[[], Any]] = {
        "pareto_front": partial(drawings.plot_pareto_front, study, target_names=list(objectives))
    }
    for i, name in enumerate(objectives):
        named = {"target": partial(value_of, objective=i), "target_name": name}
        found[f"optimization_history_{name}"] = partial(
            drawings.plot_optimization_history, study, **named
        )
        found[f"parameter_importances_{name}"] = partial(
            drawings.plot_param_importances, study, **named
        )
        found[f"parallel_coordinates_{name}"] = partial(
            drawings.plot_parallel_coordinate, study, **named
        )
    return found


def value_of(trial: Any, objective: int) -> float:
    return trial.values[objective]


def save(axes: Any, path: Path) -> Path:
    from matplotlib import pyplot

    first = axes if isinstance(axes, Axes) else next(iter(axes.flat))
    figure: Figure = first.figure
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
    return path
