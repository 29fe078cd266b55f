"""Scores and robustness as tables for a person to read."""

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.box import SIMPLE
from rich.table import Table

from speech_commands_kws.cli.terminal import text_console
from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation.metrics import percent

HEARD_MARK = "*"


def write_scores(title: str, facts: Mapping[str, Any], stream: TextIO) -> None:
    """Write a `scoring.summary`: the headline, the classes and the worst clips."""
    console = text_console(stream)
    for line in (*title.splitlines(), facts.get("description")):
        if line:
            console.print(display_name(line), soft_wrap=True)
    error, loss = percent(facts["expected_calibration_error"]), facts["log_loss"]
    console.print(f"expected calibration error {error}, log loss {loss:.3f}")
    classes = Table("class", "recall", "precision", "F1", "clips", box=SIMPLE)
    for label, row in facts["classes"].items():
        figures = [percent(row[name]) for name in ("recall", "precision", "f1")]
        classes.add_row(display_name(label), *figures, str(row["support"]))
    worst = Table("worst clips", "true word", "prediction", box=SIMPLE)
    worst.columns[0].overflow = "fold"
    for clip in facts["worst_clips"]:
        truth = f"{display_name(clip['truth'])} {percent(clip['truth_probability'])}"
        prediction = f"{display_name(clip['prediction'])} {percent(clip['prediction_probability'])}"
        worst.add_row(display_name(clip["name"]), truth, prediction)
    for column in [*classes.columns[1:], *worst.columns[1:]]:
        column.justify, column.no_wrap = "right", True
    console.print(classes)
    console.print(worst)


def write_robustness(facts: Mapping[str, Any], stream: TextIO) -> None:
    """Write what `Robustness.measure` found."""
    console = text_console(stream)
    noises = columns("accuracy in noise", "dB", facts["snr_db"])
    for name, noise in facts["noises"].items():
        mark = HEARD_MARK if noise["heard_in_training"] else ""
        noises.add_row(display_name(name) + mark, "", *map(shown, noise["by_snr"]))
    rt60 = [room["rt60_seconds"] for room in facts["rooms"]]
    gains = [level["gain_db"] for level in facts["levels"]]
    for table, name, kind in (
        (noises, "mean", "mean_by_snr"),
        (columns("accuracy in rooms, by RT60", "s", rt60), "rooms", "rooms"),
        (columns("accuracy by level", "dB", gains, "+"), "louder, quieter", "levels"),
    ):
        cells = (facts["clean"], *facts[kind])
        table.add_row(name, *map(shown, cells))
        table.add_row("95% interval", *map(interval, cells))
        console.print(table)
    note = f"{facts['clips_of_each']} clips of words in each noise, room and level, all in clean"
    if any(noise["heard_in_training"] for noise in facts["noises"].values()):
        note += f"; {HEARD_MARK} training heard this recording (augment.noise_held_out)"
    console.print(note, soft_wrap=True)


def columns(title: str, unit: str, amounts: Iterable[float], sign: str = "") -> Table:
    """A table with a column for the clean clips, and one for each amount."""
    table = Table(title, box=SIMPLE)
    table.columns[0].overflow = "fold"
    for name in ("clean", *(f"{amount:{sign}g} {unit}" for amount in amounts)):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def shown(figure: Mapping[str, Any]) -> str:
    return percent(figure["accuracy"])


def interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval_95"]
    return f"{100 * low:.0f}–{100 * high:.0f}%"
