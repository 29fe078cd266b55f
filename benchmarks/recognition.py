"""The scoreboard of recognition on Speech Commands: the tables of docs/models.md, from the folders of runs alone.

Protocol
    Runs whose saved configurations differ in nothing but the seed make one row, the mean over their seeds; a run that
    has not finished is left out. Each run is exported in fp32, fp16 and int8, and `kws evaluate` scores the fp32 file.
    Intervals hold 95 %: over the seeds by Student's t, which says how much another seed may differ; of one seed that
    of its clips (Wilson), which says how much other clips may. Hours of training are the median time between epochs
    in the log, times their number. Latency is the median for a clip on one thread, the forms of a run in turns; of a
    streaming form it is that of CALL_MS of sound. A variant is measured even where `kws export` would refuse it.
    Open set: the recordings below each folder in SPEECH, but those in whose transcript a keyword is, are cut into
    pieces as long as a clip, pauses and all; a piece fires where a keyword exceeds the file's own threshold.

    python benchmarks/recognition.py RUN... [split=validation] [clips=100] [speech=SPEECH] [SETTING=VALUE...]

split=test also scores the test split: once for each model that is released, to choose nothing by it. `clips` is that of
the robustness, for each noise, room and level. Settings go to `kws export` and `kws evaluate`. What was measured lies
in RUN/recognition, where what is newer than the checkpoint is not measured again; remove the folder to do so. Writes
the tables between the marks of docs/models.md, and JSON on the last line.
"""

import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from scipy.stats import t as student

from speech_commands_kws.audio.noise_recordings import find_recordings, read_recordings
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.evaluation.robustness import BABBLE
from speech_commands_kws.evaluation.streaming.transcripts import spellings_of, without_keywords
from speech_commands_kws.files.atomic import write_json_file
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import streaming_file
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.labels import is_keyword, keywords_of
from speech_commands_kws.packaging.latency import median_latency_ms
from speech_commands_kws.tracking import runs

OPTIONS = {"split": "validation", "clips": "100", "speech": ""}
ROOT = Path(__file__).resolve().parent.parent
PAGE, BEGIN, END = ROOT / "docs" / "models.md", "<!-- recognition -->", "<!-- /recognition -->"
FOLDER = "recognition"  # in that of a run
EXPORTED = "exported.onnx"  # not model.onnx, of which `kws infer` takes the newest
PRECISIONS = ("fp32", "fp16", "int8")
MEASURED_ANYWAY = [
    f"quantize.gate.{limit}" for limit in ("accuracy_loss=1", "agreement=0", "probe_agreement=0")
]
ROUNDS = 5
CALL_MS = 100
BATCH_SIZE = 256
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
EPOCH = re.compile(r"(\S+ \S+),\d+ INFO \S+ epoch \d+/")
BABBLE_DB, QUIET_DB = (10, 0), -30
RATIO = re.compile(r"-?\d+ dB")
TWO_SIDED_95 = 0.975
SECONDS_PER_HOUR, KB, MEGA = 3600, 1000, 1e6


# Measured once, and kept


@dataclass(frozen=True)
class Run:
    """A finished run and its figures, each measured when it is asked for, unless it lies there."""

    folder: Path
    options: dict[str, str]
    settings: Sequence[str]

    @cached_property
    def config(self) -> dict[str, Any]:
        return OmegaConf.to_container(runs.read_config(self.folder))

    @property
    def checkpoint(self) -> Path:
        return runs.checkpoint_of(self.folder, runs.BEST)

    @cached_property
    def model(self) -> Path:
        """The fp32 file, the others beside it."""
        model = self.folder / FOLDER / EXPORTED
        for precision in PRECISIONS[1:]:
            if not newer(variant_of(model, precision), self.checkpoint):
                model.parent.mkdir(exist_ok=True)
                settings = [f"quantize={precision}", *MEASURED_ANYWAY, f"output={model}"]
                self.command("export", f"run={self.folder}", *settings)
        return model

    def evaluation(self, split: str, *settings: str) -> dict[str, Any]:
        """The figures of `kws evaluate`."""
        name = "_".join(["evaluation", split, *settings]).replace("=", "_")
        kept = self.model.with_name(f"{name}.json")
        if not newer(kept, self.checkpoint, self.model):
            pictures = self.model.parent / f"pictures_{split}"
            words = [f"model={self.model}", f"split={split}", *settings, f"folder={pictures}"]
            self.command("evaluate", *words, f"json_file={kept}")
        return json.loads(kept.read_text(encoding="utf-8"))

    @property
    def scores(self) -> dict[str, Any]:
        return self.evaluation("validation", f"robustness.clips={self.options['clips']}")

    @property
    def test_scores(self) -> dict[str, Any]:
        return self.evaluation("test", "robustness=none")

    @property
    def forms(self) -> dict[str, dict[str, Any]]:
        """What each exported file says, weighs and takes."""
        return self.kept("forms.json", partial(measured_forms, self.model))

    @property
    def speech(self) -> dict[str, dict[str, int]]:
        folder = Path(self.options["speech"]).absolute()
        if not self.options["speech"]:
            return {}
        return self.kept(f"speech_{folder.name}.json", partial(fired_in, self.model, folder))

    def kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.model.with_name(name)
        if not newer(path, self.checkpoint, self.model):
            say(f"{self.folder.name}: {path.stem}")
            write_json_file(path, measure())
        return json.loads(path.read_text(encoding="utf-8"))

    def command(self, name: str, *settings: str) -> None:
        say(f"{self.folder.name}: kws {name} {' '.join(settings)}")
        program = [sys.executable, "-m", f"speech_commands_kws.{name}", *settings, *self.settings]
        subprocess.run(program, stdout=sys.stderr, check=True)

    @property
    def facts(self) -> dict[str, Any]:
        """All of it."""
        measured = {"validation": self.scores, "forms": self.forms, "speech": self.speech}
        tested = {"test": self.test_scores} if self.options["split"] == "test" else {}
        return measured | tested

    @property
    def hours(self) -> float | None:
        """Of training, without pauses between its parts; None where the log does not tell."""
        log = self.folder / runs.LOG_FILE
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        found = [datetime.fromisoformat(match[1]) for match in map(EPOCH.match, lines) if match]
        gaps = [(after - before).total_seconds() for before, after in pairwise(found)]
        epochs = self.config["trainer"]["max_epochs"]
        return statistics.median(gaps) * epochs / SECONDS_PER_HOUR if gaps else None


def newer(path: Path, *sources: Path) -> bool:
    changed = [source.stat().st_mtime for source in sources]
    return path.is_file() and path.stat().st_mtime >= max(changed)


def variant_of(model: Path, precision: str) -> Path:
    return model if precision == "fp32" else model.with_suffix(f".{precision}.onnx")


def say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def measured_forms(model: Path) -> dict[str, dict[str, Any]]:
    paths = {precision: variant_of(model, precision) for precision in PRECISIONS}
    backends = {name: OnnxBackend(path) for name, path in paths.items()}
    info = backends["fp32"].info
    generator = np.random.default_rng(0)
    clip = generator.standard_normal((1, info.clip_samples), np.float32) / 10
    calls: dict[str, tuple[Callable, np.ndarray]] = {
        name: (backend, clip) for name, backend in backends.items()
    }
    if streaming_file(model).is_file():
        paths["streaming"] = streaming_file(model)
        stream = StreamingModel(paths["streaming"])
        samples = stream.frames_in(CALL_MS) * stream.hop_samples
        step = partial(stream_step, stream, stream.initial_state())
        calls["streaming"] = step, clip[:, :samples]
    with initialize_config_dir(CONFIG_DIR):
        timing = OmegaConf.to_container(compose("export").latency)
    took = defaultdict(list)
    for _, (name, (call, sound)) in product(range(ROUNDS), calls.items()):
        took[name].append(median_latency_ms(call, sound, **timing))
    facts = {name: {"latency_ms": statistics.median(took[name])} for name in calls}
    for name, path in paths.items():
        facts[name]["bytes"] = path.stat().st_size
    for name, backend in backends.items():
        facts[name] |= {"training": backend.info.training, "detection": backend.info.detection}
    return facts


def stream_step(stream: StreamingModel, state: np.ndarray, sound: np.ndarray) -> None:
    stream(sound, state)


def fired_in(model: Path, folder: Path) -> dict[str, dict[str, int]]:
    """How many pieces there are of each kind of sound, and how many of them fire."""
    backend = OnnxBackend(model)
    labels, threshold = backend.info.labels, backend.info.detection["threshold"]
    columns = [k for k, label in enumerate(labels) if is_keyword(label)]
    with initialize_config_dir(CONFIG_DIR):
        homophones = compose("mine").homophones
    spellings = spellings_of(keywords_of(labels), homophones)
    found = {}
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = without_keywords(find_recordings([kind]), spellings)
        highest = [
            backend(batch)[0][:, columns].max(axis=1)
            for batch in pieces_of(paths, backend.info.sample_rate, backend.info.clip_samples)
        ]
        fired = np.concatenate(highest) > threshold
        found[kind.name] = {"pieces": len(fired), "fired": int(fired.sum())}
    return found


def pieces_of(
    paths: dict[Path, list[Path]], sample_rate: int, samples: int
) -> Iterator[np.ndarray]:
    """(n, samples) consecutive pieces of each recording, without the rest at its end."""
    for _, recording in read_recordings(paths, sample_rate, None):
        pieces = recording[: len(recording) // samples * samples].reshape(-1, samples)
        yield from (part for part in np.split(pieces, range(BATCH_SIZE, len(pieces), BATCH_SIZE)))


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
    return {f"{name}={ours[name]}" if name in ours else left_out(config, name) for name in names}


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
    return "\n\n".join(parts)


def main() -> None:
    words = [word.partition("=") for word in sys.argv[1:] if "=" in word]
    options = OPTIONS | {name: value for name, _, value in words if name in OPTIONS}
    settings = ["=".join((name, value)) for name, _, value in words if name not in OPTIONS]
    found = []
    for folder in (Path(word).absolute() for word in sys.argv[1:] if "=" not in word):
        if (folder / runs.HISTORY_FILE).is_file():
            found.append(Run(folder, options, settings))
        else:
            say(f"{folder.name} is left out: it has not finished")
    measured = {}
    for number, run in enumerate(found, 1):
        say(f"{number}/{len(found)}: {run.folder.name}")
        measured[str(run.folder)] = run.facts
    groups = {
        f"{number}: {backbone_of(group[0].config)}": group
        for number, group in enumerate(grouped(found), 1)
    }
    text = page_of(groups, options)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(text)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
