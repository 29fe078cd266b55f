"""The model card: a description of an exported model and its measurements, as Markdown.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation.metrics import percent, wilson_interval
from speech_commands_kws.evaluation.streaming.tables import latency_line, point_tables, shown_rate
from speech_commands_kws.inference.locate import streaming_file
from speech_commands_kws.inference.model_info import ModelInfo

# Facts of the training that a reader asks for, with their names in words.
TRAINING_FACTS = {
    "data": "data",
    "data_made_by": "data made by",
    "data_fingerprint": "fingerprint of the data",
    "auxiliary_data": "other words learnt beside them",
    "auxiliary_fingerprint": "fingerprint of these",
    "begun_with": "begun with the weights of",
    "teacher": "teacher",
    "git_commit": "commit of the program",
    "run": "run",
    "checkpoint": "checkpoint",
    "seed": "seed",
}
PARENT_FACTS = {
    "run": "begun with the weights of",
    "checkpoint": "checkpoint of these weights",
    "data": "their data",
    "data_fingerprint": "their fingerprint",
    "auxiliary_data": "other words that they learnt",
    "begun_with": "these were begun with",
    "teacher": "teacher of these weights",
}
SIZES = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds of the network",
    "frontend_multiply_adds": "multiply-adds of the front-end",
}
NOT_KNOWN = "–"
PICTURES = "## Pictures"  # the last section
FOR_WHOM = (
    "This was measured on the enrolled recordings alone: other people are understood less well."
)


def model_card(
    path: Path,
    info: ModelInfo,
    scores: Mapping[str, Any],
    figures: Mapping[str, Any],
    variants: Sequence[tuple[Path, ModelInfo]],
    pictures: Iterable[Path],
) -> str:
    """The text of the card of the model file `path`.

    Args:
        scores: the summary of its evaluation on the validation clips.
        figures: what else was measured, by its name in words.
        variants: files in fewer bits beside it, with what they say about themselves.
        pictures: below the folder of the file.
    """
    clip_seconds = info.clip_samples / info.sample_rate
    sections = [
        f"# {display_name(info.training.get('run', path.stem))}",
        f"Names the keyword in {clip_seconds:g} s of sound, one of {len(info.labels)} classes: "
        f"{', '.join(map(display_name, info.labels))}.",
        "## Use",
        f"`{path.name}` takes `waveform`, float32 (batch, {info.clip_samples}) within ±1 at {info.sample_rate} Hz, and "
        "gives `probabilities` and `logits`, (batch, classes) in the order above. The log-mel front-end is part of it.",
        *detection(info),
        *streaming_note(streaming_file(path)),
        "## Accuracy",
        accuracy(scores, info.training.get("data_description")),
        *([temperature_note(info.training)] if info.training.get("temperature", 1) != 1 else []),
        table(["class", "recall", "precision", "clips"], class_rows(scores)),
        "## Cost",
        table(["figure", "value"], cost_rows(path, info, figures)),
        *variant_section(variants),
        "## Origin",
        origin(info),
        "## Limits",
        "The figures hold for sound like the validation clips: the speakers, microphones and rooms of that data. "
        "They do not tell how often the model fires in hours of other sound. Test it on recordings of the place where "
        "it is to work before relying on it.",
        *picture_section(path, pictures),
    ]
    # The card has no HTML of its own; that of a label must not become the page's.
    return escape("\n\n".join(sections), quote=False) + "\n"


def streaming_note(path: Path) -> list[str]:
    if not path.is_file():
        return []
    card = path.with_suffix(".md").name
    return [
        f"`{path.name}` is the form that listens to a stream; its thresholds and false alarms: [{card}]({card})."
    ]


def streaming_card(path: Path, info: ModelInfo) -> str:
    """The text of the card of the streaming model file `path`."""
    hop, (rows, frames) = info.streaming["hop_samples"], info.streaming["state_shape"]
    sections = [
        f"# {display_name(info.training.get('run', path.stem))}, for streams",
        f"Listens to sound without an end, and tells when one of these words was said: "
        f"{', '.join(map(display_name, info.detector['thresholds']))}.",
        "## Use",
        f"`{path.name}` takes `waveform`, float32 (batch, {hop} n) within ±1 at {info.sample_rate} Hz, and `state`, "
        f"(batch, {rows}, {frames}), zeros at first. It gives `probabilities` and `logits`, (batch, n, classes), and "
        "`next_state`, which goes into the next call. `KeywordListener` of the package does this, and makes events of "
        "the probabilities.",
        *operating_point(info),
        "## Origin",
        origin(info),
    ]
    return escape("\n\n".join(sections), quote=False) + "\n"


def enrolled_card(path: Path, info: ModelInfo, before: Path) -> str:
    """The text of the card of the model file `path`, to which keywords were added.

    Args:
        before: the card of the model as it was.
    """
    rows = [
        [word, str(fact["recordings"]), str(fact["speakers"]), voices_of(fact)]
        + [percent(fact["recall"]), f"{percent(fact['false_accepts'])} of {fact['other_clips']:,}"]
        for word, fact in info.training["enrolled"].items()
    ]
    heads = ["keyword", "recordings", "speakers", "synthetic voices", "recall"]
    heads.append("other words taken for it")
    sections = [
        f"# {display_name(info.training.get('run', path.stem))}, with keywords added",
        f"Names one of {len(info.labels)} classes: {', '.join(map(display_name, info.labels))}.",
        "## Keywords added",
        "They were added to the trained model by a few recordings, without a training. Each was measured with one of "
        "its recordings left out in turn.",
        table(heads, rows),
        f"{FOR_WHOM} All other figures are those of the model before, whose card was {before.name}.",
        "## Origin",
        origin(info),
    ]
    return escape("\n\n".join(sections), quote=False) + "\n"


def voices_of(fact: Mapping[str, Any]) -> str:
    """How many synthetic voices said a keyword that was added, and by what they were made."""
    if not fact.get("synthetic_voices"):
        return NOT_KNOWN
    return f"{fact['synthetic_voices']} by {fact['spoken_by']}"


def enrolment_note(fact: Mapping[str, Any]) -> str:
    """What was measured when a keyword was added, in two lines."""
    speakers = f"{fact['speakers']} speaker" + "s" * (fact["speakers"] > 1)
    heard = round(fact["recall"] * fact["recordings"])
    return (
        f"{heard} of {fact['recordings']} recordings of {speakers} are recognised, each left out in turn; "
        f"{fact['false_accepts']:.1%} of {fact['other_clips']:,} clips of other words are taken for it.\n{FOR_WHOM}"
    )


def operating_point(info: ModelInfo) -> list[str]:
    """What the thresholds of a streaming model were measured to do."""
    point = info.operating_points
    if not point:
        return ["## Thresholds", "They have not been chosen yet: run `kws tune`."]
    curve = [
        [f"{each['threshold']:g}", percent(each["miss_rate"])]
        + [shown_rate(each[name]) for name in ("per_hour", "limit_95")]
        for each in point["curve"]
    ]
    return [
        "## Thresholds",
        f"Chosen for {point['wanted_per_hour']:g} false alarms an hour on the {point['split']} split, so that these "
        "figures flatter them a little; `kws evaluate protocol=streaming split=test` tells about others.",
        *(table(found.heads, found.rows) for found in point_tables(point)),
        latency_line(point["latency_seconds"]).strip(),
        "With one threshold for all keywords:",
        table(["threshold", "missed", "false alarms an hour", "95% limit"], curve),
    ]


def detection(info: ModelInfo) -> list[str]:
    point = info.detection
    if "threshold" not in point:
        return []
    found = with_interval(point["recall"], point.get("keyword_clips"), "keywords")
    wrong = with_interval(point["false_alarms_per_clip"], point.get("other_clips"), "other clips")
    return [
        f"Take a keyword for heard above a probability of {point['threshold']:.3f}: on the validation clips that finds "
        f"{found} and takes {wrong} for one. That is of single clips: sound without an end has thousands of windows an "
        "hour, and needs a streaming model."
    ]


def with_interval(share: float, n_clips: int | None, of_what: str) -> str:
    """A share of so many clips with its interval; models that were exported earlier do not know how many."""
    if not n_clips:
        return f"{share:.1%} of the {of_what}"
    low, high = wilson_interval(round(share * n_clips), n_clips)
    return f"{share:.1%} of {n_clips:,} {of_what} (95 % interval {low:.1%} to {high:.1%})"


def accuracy(scores: Mapping[str, Any], of_what: str | None) -> str:
    low, high = scores["accuracy_interval_95"]
    return (
        f"{scores['accuracy']:.2%} of {scores['clips']:,} validation clips (95 % interval {low:.2%} to {high:.2%}), "
        f"expected calibration error {scores['expected_calibration_error']:.2%}. The checkpoint was chosen by these "
        "clips, so that they flatter it a little; `kws evaluate split=test` tells about others."
        + (f" The clips are {display_name(of_what)}." if of_what else "")
    )


def temperature_note(training: Mapping[str, Any]) -> str:
    """What dividing the logits by the temperature did, in a sentence."""
    before, error = training["before_temperature"], "expected_calibration_error"
    return (
        f"The logits are divided by a temperature of {training['temperature']:.3f}, which changes the log loss of the "
        f"validation clips from {before['log_loss']:.4f} to {training['log_loss']:.4f} and the expected calibration "
        f"error from {before[error]:.2%} to {training[error]:.2%}, and no prediction."
    )


def class_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    def share(value: float | None) -> str:
        return NOT_KNOWN if value is None else f"{value:.1%}"

    return [
        [label, share(row["recall"]), share(row["precision"]), str(row["support"])]
        for label, row in scores["classes"].items()
    ]


def cost_rows(path: Path, info: ModelInfo, figures: Mapping[str, Any]) -> list[list[str]]:
    content = path.read_bytes()
    operators = info.training.get("operators", {})
    return [
        ["size", f"{len(content) / 1000:,.0f} kB"],
        *fact_rows(SIZES, info.training),
        *([name, str(value)] for name, value in figures.items()),
        ["operators", ", ".join(f"{name} {count}" for name, count in operators.items())],
        ["SHA-256", f"`{sha256(content).hexdigest()}`"],
    ]


def fact_rows(names: Mapping[str, str], facts: Mapping[str, Any]) -> list[list[str]]:
    def shown(value: Any) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value)

    return [
        [text, shown(facts[name])] for name, text in names.items() if facts.get(name) is not None
    ]


def origin(info: ModelInfo) -> str:
    """Where the model comes from, and the weights that its training began with."""
    return table(["fact", "value"], origin_rows(info.training))


def origin_rows(training: Mapping[str, Any]) -> list[list[str]]:
    parent = fact_rows(PARENT_FACTS, training.get("parent", {}))
    return fact_rows(TRAINING_FACTS, training) + parent


def variant_section(variants: Sequence[tuple[Path, ModelInfo]]) -> list[str]:
    if not variants:
        return []
    rows = []
    for path, info in variants:
        facts = info.training["variant"]
        rows.append(
            [
                f"`{path.name}`",
                f"{path.stat().st_size / 1000:,.0f} kB",
                f"{info.training['accuracy']:.2%}",
                f"{facts['agreement']:.2%}",
                f"{facts['latency_ms']:.2f} ms",
            ]
        )
    heads = ["variant", "size", "accuracy", "same predictions", "time for a clip"]
    return ["## Variants", table(heads, rows)]


def picture_section(path: Path, pictures: Iterable[Path]) -> list[str]:
    lines = [
        f"![{picture.stem.replace('_', ' ')}]({picture.relative_to(path.parent).as_posix()})"
        for picture in pictures
    ]
    return [PICTURES, *lines] if lines else []


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines)


def escaped(cell: str) -> str:
    """A bar would end the cell, as a new line would."""
    return display_name(cell).replace("|", "\\|")
