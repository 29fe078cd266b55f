"""The graphs of a search, drawn by Optuna."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import CategoricalDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial
from optuna.visualization import matplotlib as drawings

from speech_commands_kws.cli.terminal import short_names
from speech_commands_kws.figures.style import PALE, STYLE, save
from speech_commands_kws.sweeps.results import has_value, varied_keys
from speech_commands_kws.training.objectives import ACCURACY


def plot_parallel(study: Study, **about: Any) -> Axes:
    """With short names of the parameters, where Optuna cuts long ones off."""
    axes = drawings.plot_parallel_coordinate(study, **about)
    names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
    axes.set_xticks(axes.get_xticks(), [about["target_name"], *short_names(names)])
    return axes


GRAPHS = {
    "optimization_history": drawings.plot_optimization_history,
    "parallel_coordinates": plot_parallel,
}
IMPORTANCES = "parameter_importances"
# Settings, and what begins with them, that change how a network is trained and not the network.
OF_TRAINING = ("augment", "label_smoothing", "loader", "optimizer", "scheduler", "seed", "trainer")
COMPLETE = (TrialState.COMPLETE,)
PAPER = "white"
ROOM_FOR_NUMBERS = 0.1  # of the axis, behind the longest bar
OWN_STYLE = {
    "axes.grid": False,  # of the axes that lie on others, one for each parameter
    "backend": "agg",
    "figure.figsize": (9.0, 5.5),
    "savefig.bbox": "tight",
    "text.parse_math": True,  # the powers of ten along an axis
}

LOG = logging.getLogger(__name__)


def study_of_grid(results: Sequence[Mapping[str, Any]], objectives: Mapping[str, str]) -> Study:
    """A study in memory of the jobs of a plain grid, which had no sampler, for the same graphs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=list(objectives.values()))
    values = {
        key: list(dict.fromkeys(result["overrides"].get(key, "") for result in results))
        for key in varied_keys(list(results))
    }
    choices = {}
    for key, texts in values.items():
        numbers = [as_number(text) for text in texts]
        choices[key] = dict(zip(texts, texts if None in numbers else numbers))
    distributions = {key: CategoricalDistribution(list(choices[key].values())) for key in choices}
    for result in filter(has_value, results):
        params = {key: choices[key][result["overrides"].get(key, "")] for key in choices}
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
    complete = study.get_trials(deepcopy=False, states=COMPLETE)
    if not complete:
        return []
    about = f"{len(complete)} finished trainings"
    paths = []
    # That these functions are experimental, each time: for the log, also where warnings are errors.
    with warnings.catch_warnings(record=True, action="always") as notes:
        for name, draw in graphs(study, objectives).items():
            try:
                with matplotlib.rc_context(STYLE | OWN_STYLE):
                    title = name.replace("_", " ").capitalize()
                    paths.append(save(styled(draw()), folder / f"{name}.png", title, about))
                    pyplot.close()
            except (ValueError, RuntimeError) as error:
                LOG.info("no graph %s: %s", name, error)
    for note in notes:
        LOG.debug("%s", note.message)
    return paths


def graphs(study: Study, objectives: Sequence[str]) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    is_one = len(objectives) == 1
    if not is_one:
        names = list(objectives)
        found["pareto_front"] = partial(drawings.plot_pareto_front, study, target_names=names)
    for i, objective in enumerate(objectives):
        target = None if is_one else partial(value_of, objective=i)
        about = {"target": target, "target_name": objective}
        ending = "" if is_one else f"_{objective}"
        for name, draw in GRAPHS.items():
            found[name + ending] = partial(draw, study, **about)
        influences = influencing(study, objective)
        found_values = {trial.values[i] for trial in study.get_trials(states=COMPLETE)}
        if len(found_values) > 1 and len(influences) > 1:  # one alone has all of the importance
            draw = drawings.plot_param_importances
            found[IMPORTANCES + ending] = partial(draw, study, params=influences, **about)
    return found


def influencing(study: Study, objective: str) -> list[str]:
    """The parameters that can influence an objective: those of a training change its accuracy, not how large or
    fast the network is."""
    names = {name for trial in study.get_trials(deepcopy=False) for name in trial.params}
    return sorted(
        name for name in names if objective == ACCURACY or name.partition(".")[0] not in OF_TRAINING
    )


def value_of(trial: Any, objective: int) -> float:
    return trial.values[objective]


def styled(axes: Any) -> Figure:
    """Optuna sets a style of its own and a title; `save` gives each figure one."""
    first = axes if isinstance(axes, Axes) else next(iter(axes.flat))
    first.set_title("", loc="center")
    first.set_title("", loc="left")
    first.set_facecolor(PAPER)
    first.grid(color=PALE)
    if first.get_xlabel() == "Trial":
        first.xaxis.set_major_locator(MaxNLocator(integer=True))
    if first.get_ylabel() == "Hyperparameter":
        first.set(ylabel="", xlabel="share of the differences between trials")
        first.margins(x=ROOM_FOR_NUMBERS)
    legend = first.get_legend()
    if legend and len(legend.get_texts()) == 1:
        legend.remove()  # it would say again what the axis says, over the bars
    return first.figure
