"""The tables of `recognition.py`: a row for all runs that differ in the seed alone."""

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from recognition_runs import PRECISIONS, Run
from scipy.stats import t as student

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.evaluation.robustness import BABBLE
from speech_commands_kws.tracking import runs

# Of a configuration, what makes no other row, and of this what stands in no cell of the recipe.
PLACES = (
    *("seed", "folder", "name", "paths", "logger", "registry", "run", "resume", "sweep"),
    *("languages", "loader.seed", "loader.cache", "loader.resident"),
)
TOLD_ELSEWHERE = (
    *("data", "teacher", "targets", "trainer.max_epochs"),
    *("backbone._target_", "backbone.width", "backbone.fast_training"),
)
FOLLOWS = "model_width"  # from the backbone
EXPERIMENTS, AUGMENTS = ("gsc12", "gsc12_teacher"), ("recipe", "robust", "none", "streams")
BABBLE_DB, QUIET_DB = (10, 0), -30
RATIO = re.compile(r"-?\d+ dB")
TWO_SIDED_95 = 0.975
KB, MEGA = 1000, 1e6


# What a row is called


def flat(node: Any, name: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted names; what is null is not there."""
    if not isinstance(node, dict):
        return {} if node is None else {name: node}
    inner = (flat(value, f"{name}.{key}".lstrip(".")) for key, value in node.items())
    return {name: value for part in inner for name, value in part.items()}


def without(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The values but those of these names and below them."""
    begins = tuple(f"{name}." for name in names)
    return {name: value for name, value in values.items() if not f"{name}.".startswith(begins)}


def grouped(found: Iterable[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone, in the order in which they were named."""
    groups: dict[str, list[Run]] = {}
    for run in found:
        key = json.dumps(without(flat(run.config), PLACES), sort_keys=True)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def recipes() -> dict[str, dict[str, Any]]:
    """The values of each experiment with each augmentation, by what asks for them."""
    found = {}
    with initialize_config_dir(CONFIG_DIR):
        for experiment, augment in product(EXPERIMENTS, AUGMENTS):
            words = [f"experiment={experiment}", f"augment={augment}"]
            data = [
                "data=speech_commands",
                "task=gsc12",
                "logger=none",
                "name=none",
                "paths.root=.",
            ]
            cfg = compose("train", [*words, *data])
            name = " ".join(words[: 1 if augment == "recipe" else 2])
            found[name] = flat(OmegaConf.to_container(cfg, resolve=True))
    return found


def differences(config: dict[str, Any], recipe: dict[str, Any]) -> set[str]:
    """The settings that make the one of the other, but those that have a column of their own."""
    ours, theirs = (without(part, (*PLACES, *TOLD_ELSEWHERE)) for part in (flat(config), recipe))
    names = [
        name
        for name in ours.keys() | theirs.keys()
        if ours.get(name) != theirs.get(name) and not name.endswith(FOLLOWS)
    ]
    return {
        f"{name}={without_place(ours[name])}" if name in ours else left_out(config, name)
        for name in names
    }


def without_place(value: Any) -> Any:
    """A value, of a path its last name alone: where it lay on a machine says nothing."""
    return Path(value).name if isinstance(value, str) and "/" in value else value


def left_out(config: dict[str, Any], name: str) -> str:
    """What asks for a configuration without this value: null for it, or for the whole that it would be in."""
    node: Any = config
    parts = name.split(".")
    for i, part in enumerate(parts, 1):
        node = node.get(part)
        if node is None:
            break
    return f"{'.'.join(parts[:i])}=null"


def recipe_of(config: dict[str, Any], known: dict[str, dict[str, Any]]) -> tuple[str, set[str]]:
    """The nearest recipe, and what differs from it."""
    found = {name: differences(config, recipe) for name, recipe in known.items()}
    name = min(found, key=lambda name: len(found[name]))
    return name, found[name]


def backbone_of(config: dict[str, Any]) -> str:
    backbone = config["backbone"]
    name = backbone["_target_"].rpartition(".")[2]
    return f"{name}-{backbone['width']:g}" if "width" in backbone else name


def teacher_of(config: dict[str, Any]) -> str:
    teacher = config.get("teacher")
    if not teacher:
        return "none"
    run = Path(str(teacher.get("run"))).parent.parent  # its checkpoint is named
    if (run / runs.CONFIG_FILE).is_file():
        return backbone_of(OmegaConf.to_container(runs.read_config(run)))
    return teacher["_target_"].rpartition(".")[2]


# Tables


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}"


def with_interval(scores: Sequence[dict[str, Any]]) -> str:
    """The mean accuracy over seeds with its 95 % interval, percent."""
    values = [found["accuracy"] for found in scores]
    middle, low_high = statistics.mean(values), scores[0]["accuracy_interval_95"]
    if len(values) > 1:
        error = statistics.stdev(values) / len(values) ** 0.5
        half = error * student.ppf(TWO_SIDED_95, len(values) - 1)
        low_high = middle - half, min(middle + half, 1)
    return f"{percent(middle, 2)} ({' to '.join(percent(limit, 2) for limit in low_high)})"


def mean(group: Sequence[Run], figure: Callable[[Run], float]) -> float:
    return statistics.mean(map(figure, group))


def accuracy_table(groups: dict[str, list[Run]], with_test: bool) -> Iterator[list[str]]:
    heads = ["model", "parameters", "multiply-adds", "recipe", "teacher", "epochs", "seeds"]
    yield [*heads, "hours", "validation", *(["test"] if with_test else [])]
    known = recipes()
    described = {name: recipe_of(group[0].config, known) for name, group in groups.items()}
    for name, group in groups.items():
        facts = group[0].forms["fp32"]["training"]
        recipe, differs = described[name]
        hours = [run.hours for run in group if run.hours is not None]
        yield [
            name,
            f"{facts['parameters']:,}",
            f"{facts['multiply_adds'] / MEGA:.1f} M",
            f"`{' '.join([recipe, *sorted(differs)])}`",
            teacher_of(group[0].config),
            str(group[0].config["trainer"]["max_epochs"]),
            str(len(group)),
            f"{statistics.mean(hours):.1f}" if hours else "",
            with_interval([run.scores for run in group]),
            *([with_interval([run.test_scores for run in group])] if with_test else []),
        ]


def robustness_cells(run: Run) -> dict[str, dict[str, Any]]:
    """Accuracy and interval by the heads of the columns."""
    found = run.scores["robustness"]
    ratios = found["snr_db"]
    babble = found["noises"][BABBLE]["by_snr"]
    return {
        "words, clean": found["clean"],
        **dict(zip([f"{ratio} dB" for ratio in ratios], found["mean_by_snr"], strict=True)),
        **{f"babble, {ratio} dB": babble[ratios.index(ratio)] for ratio in BABBLE_DB},
        **{f"room, {room['rt60_seconds']} s": room for room in found["rooms"]},
        **{
            f"{-level['gain_db']} dB quieter": level
            for level in found["levels"]
            if level["gain_db"] == QUIET_DB
        },
    }


def robustness_table(groups: dict[str, list[Run]]) -> Iterator[list[str]]:
    for i, (name, group) in enumerate(groups.items()):
        cells = [robustness_cells(run) for run in group]
        if i == 0:
            yield ["model", *cells[0]]
        yield [
            name,
            *(
                percent(statistics.mean(found[head]["accuracy"] for found in cells))
                for head in cells[0]
            ),
        ]


def about_robustness(every: Sequence[Run]) -> str:
    """How many clips there are, and how far the interval of one seed reaches at most."""
    half_widths = defaultdict(list)
    for head, found in (pair for run in every for pair in robustness_cells(run).items()):
        low, high = found["interval_95"]
        half_widths[RATIO.fullmatch(head) is not None].append((high - low) / 2)
    of_mean, of_one = (f"±{percent(max(half_widths[is_mean]))}" for is_mean in (True, False))
    clips = every[0].scores["robustness"]["clips_of_each"]
    return (
        f"Percent right of {clips:,} clips of words for each kind of noise, room and level; all of them in the column "
        "without. Ratios without a name are means over the kinds of noise. 95 % interval of one seed: up to "
        f"{of_mean} points there, up to {of_one} elsewhere."
    )


def forms_table(groups: dict[str, list[Run]]) -> Iterator[list[str]]:
    yield ["model", "form", "accuracy", "loss, points", "largest loss", "latency, ms", "file, kB"]
    for name, group in groups.items():
        for form in group[0].forms:
            accuracy, loss, largest = "", "", ""
            if form in PRECISIONS:
                scores = [run.forms[form]["training"]["accuracy"] for run in group]
                full = [run.forms["fp32"]["training"]["accuracy"] for run in group]
                losses = [before - after for before, after in zip(full, scores, strict=True)]
                accuracy = percent(statistics.mean(scores), 2)
                loss, largest = percent(statistics.mean(losses), 2), percent(max(losses), 2)
            latency = mean(group, lambda run: run.forms[form]["latency_ms"])
            size = mean(group, lambda run: run.forms[form]["bytes"])
            yield [name, form, accuracy, loss, largest, f"{latency:.2f}", f"{size / KB:,.0f}"]


def open_set_table(groups: dict[str, list[Run]]) -> Iterator[list[str]]:
    kinds = next(iter(groups.values()))[0].speech
    heads = [f"`{kind}` ({found['pieces']:,} pieces)" for kind, found in kinds.items()]
    yield [
        *("model", "threshold", "keywords found", "other clips that fire", *heads),
        *("calibration error", "log loss"),
    ]
    for name, group in groups.items():
        points = [run.forms["fp32"]["detection"] for run in group]
        mean_of = {key: statistics.mean(point[key] for point in points) for key in points[0]}
        calibration = mean(group, lambda run: run.scores["expected_calibration_error"])
        yield [
            name,
            f"{mean_of['threshold']:.3f}",
            percent(mean_of["recall"]),
            percent(mean_of["false_alarms_per_clip"]),
            *(
                percent(
                    mean(group, lambda run: run.speech[kind]["fired"] / run.speech[kind]["pieces"])
                )
                for kind in kinds
            ),
            percent(calibration, 2),
            f"{mean(group, lambda run: run.scores['log_loss']):.3f}",
        ]


def listening_table(groups: dict[str, list[Run]]) -> Iterator[list[str]]:
    """Of the first run of a row whose threshold was chosen."""
    conditions = ("clean", "10 dB", "0 dB", "room")
    heads = ["model", "run", "threshold", *(f"missed, {condition}" for condition in conditions)]
    yield [
        *heads,
        "false alarms an hour (95 % limit)",
        "hours",
        "answer after the word's end, median",
    ]
    for name, group in groups.items():
        run = next((run for run in group if run.listener), None)
        if run is None:
            continue
        point = run.listener
        missed = [point["misses_by_condition"][condition]["miss_rate"] for condition in conditions]
        alarms = point["false_alarms_in_all_sound"]
        yield [
            *(name, run.folder.name, f"{point['threshold']:g}", *map(percent, missed)),
            f"{alarms['per_hour']:.1f} ({alarms['limit_95']:.1f})",
            f"{alarms['hours']:.2f}",
            f"{point['latency_seconds']['median']:.2f} s",
        ]


def markdown(rows: Iterable[list[str]]) -> str:
    """A table with aligned columns."""
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def page_of(groups: dict[str, list[Run]], options: dict[str, str]) -> str:
    """All that stands between the marks."""
    every = [run for group in groups.values() for run in group]
    clips = every[0].scores["clips"]
    seeds = "the mean over the seeds with its 95 % interval, of one seed with that of its clips"
    parts = [
        f"### Accuracy\n\nPercent of {clips:,} validation clips, {seeds}.",
        markdown(accuracy_table(groups, options["split"] == "test")),
        f"### Noise, rooms and level\n\n{about_robustness(every)}",
        markdown(robustness_table(groups)),
        "### Exported forms\n\nOn the same validation clips; the largest loss is that of the worst seed.",
        markdown(forms_table(groups)),
        "### Open set and calibration\n\nPercent, at the threshold of each fp32 file, but for the log loss.",
        markdown(open_set_table(groups)),
    ]
    if any(run.listener for run in every):
        parts += [
            "### Listening\n\nPercent of the words in streams of the validation split, at the threshold that "
            "`kws tune` chose on that very sound: recordings without keywords, other words, synthetic talk.",
            markdown(listening_table(groups)),
        ]
    return "\n\n".join(parts)
