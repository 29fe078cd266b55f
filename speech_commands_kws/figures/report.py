"""A run as one page of HTML: its figures in tables, its pictures, and the worst clips, which can be heard.

Pictures and sounds lie in the page itself, so that it opens from the disk and in MLflow's viewer of artifacts.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
import soundfile

from speech_commands_kws.audio.writing import to_int16
from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.evaluation.scoring import ScoredClip
from speech_commands_kws.evaluation.streaming.tables import Table, latency_line, point_tables
from speech_commands_kws.evaluation.tables import class_table, heard_note, robustness_tables
from speech_commands_kws.files.atomic import write_whole

TEMPLATE = Path(__file__).with_name("report.html")
# What the pictures show, by the names of their files, for a reader who does not see them.
SHOWN = {
    "confusion": "Confusion matrix: how many clips of each word were taken for which word",
    "classes": "Recall with its 95% interval and precision of each class, as in the table",
    "calibration": "Accuracy of the clips by the probability of their prediction, and how many clips there are",
    "robustness": "Accuracy by signal-to-noise ratio, reverberation time and level, as in the tables",
    "detection": "Words missed against false alarms an hour at each threshold, a line for each condition",
    "accuracy": "Accuracy in training and validation, by epoch",
    "loss": "Loss in training and validation, by epoch",
    "learning_rate": "Learning rate, by epoch",
    "throughput": "Clips a second in training, by epoch",
    "augmentations": "Waveform and mel spectrogram of a clip, as it is and after each augmentation",
}
CURVES = ("accuracy", "loss", "learning_rate", "throughput")


class HeardClip(NamedTuple):
    """A clip with its mel spectrogram as a PNG image."""

    clip: ScoredClip
    sample_rate: int
    mel: bytes


def write_report(
    path: Path,
    title: str,
    facts: Iterable[Sequence[str]],
    pictures: Iterable[Path],
    scores: Mapping[str, Any] | None = None,
    clips: Sequence[HeardClip] = (),
    point: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page; what is not given has no section.

    Args:
        title: its first line is the heading, the others are below it.
        facts: rows of two, on model and data.
        pictures: files; those that have a name of `SHOWN` are taken, of two with one name the later.
        scores: of `scoring.summary`, and what `Robustness.measure` found as `robustness`.
        clips: the worst.
        point: of `Tuning.point`, or what `kws tune` wrote into a model.
    """
    found = {file.stem: picture(file.read_bytes(), SHOWN[file.stem]) for file in _known(pictures)}
    robustness = scores and scores.get("robustness")

    def drawn(*names: str) -> list[str]:
        return [found[name] for name in names if name in found]

    sections = {
        "Accuracy": [
            *(accuracy(scores) if scores else ()),
            *drawn("classes", "confusion", "calibration"),
        ],
        "Noise, rooms and levels": [
            *(map(table, robustness_tables(robustness)) if robustness else ()),
            *([paragraph(heard_note(robustness))] if robustness else ()),
            *drawn("robustness"),
        ],
        "Worst clips": list(worst(clips)) if scores else [],
        "Listening": [*(listening(point) if point else ()), *drawn("detection")],
        "Training": drawn(*CURVES),
        "Augmentations": drawn("augmentations"),
        "Model and data": [table(Table(("fact", "value"), [tuple(row) for row in facts], ()))],
    }
    heading, *lines = title.splitlines()
    body = [f"<h1>{shown(heading)}</h1>", *map(paragraph, filter(None, lines))]
    filled = {name: parts for name, parts in sections.items() if parts}
    links = [f'<a href="#{anchor(name)}">{name}</a>' for name in filled]
    body.append(f'<nav aria-label="Sections">{" ".join(links)}</nav>')
    for name, parts in filled.items():
        body += [f'<section id="{anchor(name)}">', f"<h2>{name}</h2>", *parts, "</section>"]
    page = Template(TEMPLATE.read_text("utf-8"))
    write_whole(path, page.substitute(title=shown(heading), body="\n".join(body)), f"report={path}")
    return path


def _known(pictures: Iterable[Path]) -> Iterator[Path]:
    return (path for path in pictures if path.stem in SHOWN)


def accuracy(scores: Mapping[str, Any]) -> Iterator[str]:
    error = percent(scores["expected_calibration_error"])
    yield paragraph(f"Expected calibration error {error}, log loss {scores['log_loss']:.3f}.")
    yield table(class_table(scores))


def listening(point: Mapping[str, Any]) -> Iterator[str]:
    if "wanted_per_hour" in point:
        yield paragraph(
            f"The streaming model was measured on the {point['split']} split when its thresholds were chosen, for "
            f"{point['wanted_per_hour']:g} false alarms an hour, so that the figures flatter it a little."
        )
    yield from map(table, point_tables(point))
    if latency := latency_line(point["latency_seconds"]).strip():
        yield paragraph(f"{latency.capitalize()}.")


def worst(clips: Sequence[HeardClip]) -> Iterator[str]:
    """The clips, each as picture and sound."""
    if not clips:
        yield paragraph("No clip was taken for another class.")
        return
    yield paragraph("The true class and the prediction, each with its probability.")
    yield '<div class="clips">'
    for clip, sample_rate, mel in clips:
        name, truth, prediction = map(shown, (clip.name, clip.truth, clip.prediction))
        yield "<figure>"
        yield picture(mel, f"Mel spectrogram of {clip.name}")
        yield f'<audio controls aria-label="{name}" src="{wav(clip.waveform, sample_rate)}"></audio>'
        yield f"<figcaption><strong>{truth}</strong> {percent(clip.truth_probability)} → "
        yield f"<strong>{prediction}</strong> {percent(clip.prediction_probability)}<br />{name}"
        yield "</figcaption></figure>"
    yield "</div>"


def table(content: Table) -> str:
    """A table that scrolls by itself where the page is narrow; its first column names the rows."""
    kinds = [' class="number"' if head in content.numbers else "" for head in content.heads]
    heads = [
        f'<th scope="col"{kind}>{shown(head)}</th>'
        for head, kind in zip(content.heads, kinds, strict=True)
    ]
    rows = []
    for first, *others in content.rows:
        cells = [
            f"<td{kind}>{shown(cell)}</td>" for cell, kind in zip(others, kinds[1:], strict=True)
        ]
        rows.append(f'<tr><th scope="row">{shown(first)}</th>{"".join(cells)}</tr>')
    head, body = "".join(heads), "\n".join(rows)
    label = shown(content.heads[0])
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table by {label}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def picture(png: bytes, about: str) -> str:
    return f'<img alt="{shown(about)}" src="{data_uri("image/png", png)}" />'


def wav(waveform: np.ndarray, sample_rate: int) -> str:
    """The address of a waveform (T,) that lies in it, as a WAV file in 16 bits."""
    file = BytesIO()
    soundfile.write(file, to_int16(waveform), sample_rate, format="WAV", subtype="PCM_16")
    return data_uri("audio/wav", file.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def paragraph(text: str) -> str:
    return f"<p>{shown(text)}</p>"


def shown(text: str) -> str:
    """A text in the page: names of files and labels are no HTML."""
    return escape(display_name(text.strip()))


def anchor(name: str) -> str:
    return name.split()[0].strip(",").lower()
