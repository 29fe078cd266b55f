"""The folder of models that a wheel carries: the files, their cards, and their provenance for programs to read."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import DISTRIBUTION, KwsError, display_name
from speech_commands_kws.evaluation.metrics import wilson_interval
from speech_commands_kws.files.atomic import make_writable, write_whole, written_to
from speech_commands_kws.inference.locate import MODEL_FILE, STREAMING_FILE
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.released import PROVENANCE
from speech_commands_kws.packaging.model_card import NOT_KNOWN, PICTURES, table

CARD_SUFFIX = ".md"
MODELS = (MODEL_FILE, STREAMING_FILE)
WRITTEN = {PROVENANCE, *MODELS, *(Path(name).with_suffix(CARD_SUFFIX).name for name in MODELS)}
FACTS = ("parameters", "multiply_adds", "git_commit", "seed", "precision", "teacher", "begun_with")


@dataclass(frozen=True)
class Material:
    """What a model has learnt from.

    Attributes:
        name: of the data set, the folder of sound, or the weights.
        licence: its terms and source; None where nobody has told them.
        fingerprint: of the clips, where it has one.
    """

    name: str
    licence: str | None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Figure:
    """A measured share, 0 to 1, with its 95 % interval, or a rate.

    Attributes:
        measured_on: the sound, and how much of it.
    """

    name: str
    value: float
    interval_95: Sequence[float | None]
    measured_on: str


@dataclass(frozen=True)
class Bundled:
    """A model file for a wheel.

    Attributes:
        recipe: the settings of its training.
        evaluation: what `kws evaluate` wrote of it on the test split.
    """

    path: Path
    info: ModelInfo
    materials: Sequence[Material]
    recipe: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None


def write_bundle(folder: Path, models: Sequence[Bundled], not_for_use: str | None) -> None:
    """Replace the folder by one with these models.

    Raises:
        KwsError: it has what was not written here, or the file system does not take it.
    """
    make_writable(folder.parent)
    with written_to(folder):
        folder.mkdir(exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        others = found - WRITTEN if PROVENANCE in found else found
        if others:
            raise KwsError(
                f"{folder} has {min(others)}, which `kws bundle` did not write there: choose a new folder, or one that "
                "has the models of before alone"
            )
        for name in found:
            (folder / name).unlink()
    for model in models:
        shutil.copyfile(model.path, folder / model.path.name)
        card = model.path.with_suffix(CARD_SUFFIX)
        if card.is_file():
            write_whole(folder / card.name, card_for_others(card, model, not_for_use))
    facts = {
        "package": DISTRIBUTION,
        "version": version(DISTRIBUTION),
        "not_for_use": not_for_use,
        "models": {model.path.name: provenance_of(model) for model in models},
    }
    write_whole(folder / PROVENANCE, json.dumps(facts, indent=2) + "\n")


def card_for_others(card: Path, model: Bundled, not_for_use: str | None) -> str:
    """The card of the run without its pictures, which stay there, and with materials and figures."""
    materials = [[each.name, each.licence or NOT_KNOWN] for each in model.materials]
    figures = [
        [each.name, f"{each.value:.4g}", " to ".join(f"{limit:.4g}" for limit in each.interval_95)]
        + [each.measured_on]
        for each in figures_of(model)
    ]
    sections = [
        *([f"**Not for use: {display_name(not_for_use)}.**"] if not_for_use else []),
        card.read_text(encoding="utf-8").partition(f"\n{PICTURES}")[0].rstrip(),
        "## Learnt from",
        table(["material", "source and licence"], materials),
        "## Measured",
        table(["figure", "value", "95 % interval", "on"], figures),
    ]
    return "\n\n".join(sections) + "\n"


def provenance_of(model: Bundled) -> dict[str, Any]:
    content, training = model.path.read_bytes(), model.info.training
    return {
        "sha256": sha256(content).hexdigest(),
        "bytes": len(content),
        "labels": model.info.labels,
        "sample_rate": model.info.sample_rate,
        **{name: training[name] for name in FACTS if training.get(name) is not None},
        "materials": [asdict(material) for material in model.materials],
        "recipe": model.recipe,
        "figures": [asdict(figure) for figure in figures_of(model)],
    }


def figures_of(model: Bundled) -> Iterator[Figure]:
    """What was measured of a model, of validation clips first."""
    training, point = model.info.training, model.info.operating_points
    clips = training["accuracy_clips"]
    if not model.info.streaming:
        right = round(training["accuracy"] * clips)
        where = f"{clips:,} validation clips, by which the checkpoint was chosen"
        yield Figure("accuracy", right / clips, wilson_interval(right, clips), where)
    if point:
        yield from figures_of_streams(
            point, f"the {point['split']} split, by which the threshold was chosen"
        )
    if model.evaluation and model.info.streaming:
        yield from figures_of_streams(model.evaluation, f"the {model.evaluation['split']} split")
    elif model.evaluation:
        where = f"{model.evaluation['clips']:,} clips of {model.evaluation['data']}"
        score = model.evaluation["accuracy"]
        yield Figure("accuracy", score, model.evaluation["accuracy_interval_95"], where)


def figures_of_streams(point: Mapping[str, Any], split: str) -> Iterator[Figure]:
    for condition, found in point["misses_by_condition"].items():
        where = f"{found['words']:,} words in streams, {condition}, of {split}"
        yield Figure("missed", found["miss_rate"], found["interval_95"], where)
    for kind, found in point["false_alarms_by_kind"].items():
        if found["hours"]:
            where = f"{found['hours']:.2f} hours of {kind}, of {split}"
            yield Figure("false alarms an hour", found["per_hour"], found["interval_95"], where)


def check_gate(model: Bundled, accuracy: float, found: float) -> None:
    """Raises KwsError where a model may not be given to others, is not good enough, or nobody knows how good it is.

    Args:
        accuracy: least share of the test clips that is right.
        found: least share of the words that a listener finds.
    """
    name, evaluation = model.path.name, model.evaluation
    unknown = [material.name for material in model.materials if material.licence is None]
    if unknown:
        raise KwsError(
            f"{name} has learnt from {', '.join(unknown)}, whose terms nobody has told: where they permit a model for "
            f"others, say '+licences.{unknown[0]}=\"SOURCE, LICENCE\"'; otherwise train without it"
        )
    if evaluation is None:
        raise KwsError(
            f"{name} is not measured on the test split: `kws evaluate model={model.path} split=test "
            "json_file=…/test.json`, with protocol=streaming for streams; or not_for_use='why nobody should use it'"
        )
    if model.info.streaming:
        if not model.info.operating_points:
            raise KwsError(
                f"the thresholds of {name} have not been chosen: `kws tune model={model.path}`"
            )
        what, least, score = (
            "finds",
            found,
            1 - evaluation["misses_by_condition"]["clean"]["miss_rate"],
        )
    else:
        what, least, score = "gets right", accuracy, evaluation["accuracy"]
    if score < least:
        raise KwsError(
            f"{name} {what} {score:.1%} in the test split, and a model for others needs {least:.1%} (gate): train it "
            "longer, or say not_for_use='why nobody should use it'"
        )
