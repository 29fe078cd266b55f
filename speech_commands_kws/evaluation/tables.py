"""Scores and robustness as tables for a person to read."""

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from speech_commands_kws.cli.terminal import text_console, write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.evaluation.streaming.tables import Table

HEARD_MARK = "*"


def write_scores(title: str, facts: Mapping[str, Any], stream: TextIO) -> None:
    """Write a `scoring.summary`: the headline, the classes and the worst clips."""
    console = text_console(stream)
    for line in (*title.splitlines(), facts.get("description")):
        if line:
            console.print(display_name(line), soft_wrap=True)
    error, loss = percent(facts["expected_calibration_error"]), facts["log_loss"]
    console.print(f"expected calibration error {error}, log loss {loss:.3f}")
    classes = class_table(facts)
    write_rows(stream, classes.heads, classes.rows, numbers=classes.numbers)
    words = ("true word", "prediction")
    worst = [
        (
            display_name(clip["name"]),
            f"{display_name(clip['truth'])} {percent(clip['truth_probability'])}",
            f"{display_name(clip['prediction'])} {percent(clip['prediction_probability'])}",
        )
        for clip in facts["worst_clips"]
    ]
    if worst:
        write_rows(stream, ("worst clips", *words), worst, numbers=words, wrapped="worst clips")


def class_table(facts: Mapping[str, Any]) -> Table:
    figures = ("recall", "precision", "F1", "clips")
    rows = [
        (
            display_name(label),
            *(percent(row[name]) for name in ("recall", "precision", "f1")),
            str(row["support"]),
        )
        for label, row in facts["classes"].items()
    ]
    return Table(("class", *figures), rows, figures)


def write_robustness(facts: Mapping[str, Any], stream: TextIO) -> None:
    """Write what `Robustness.measure` found."""
    for table in robustness_tables(facts):
        write_rows(stream, table.heads, table.rows, numbers=table.numbers)
    text_console(stream).print(heard_note(facts), soft_wrap=True)


def robustness_tables(facts: Mapping[str, Any]) -> Iterator[Table]:
    """Accuracy in each noise, in rooms and by level, with the intervals of the means."""
    noises = []
    for name, noise in facts["noises"].items():
        mark = HEARD_MARK if noise["heard_in_training"] else ""
        noises.append((display_name(name) + mark, "", *map(shown, noise["by_snr"])))
    levels = [f"{snr_db:g} dB" for snr_db in facts["snr_db"]]
    times = [f"{room['rt60_seconds']:g} s" for room in facts["rooms"]]
    gains = [f"{level['gain_db']:+g} dB" for level in facts["levels"]]
    for head, name, columns, rows, kind in (
        ("accuracy in noise", "mean", levels, noises, "mean_by_snr"),
        ("accuracy in rooms, by RT60", "rooms", times, [], "rooms"),
        ("accuracy by level", "louder, quieter", gains, [], "levels"),
    ):
        cells = (facts["clean"], *facts[kind])
        rows = [*rows, (name, *map(shown, cells)), ("95% interval", *map(interval, cells))]
        yield Table((head, "clean", *columns), rows, ("clean", *columns))


def heard_note(facts: Mapping[str, Any]) -> str:
    """On how many clips the figures of robustness rest, and what their marks mean."""
    note = f"{facts['clips_of_each']} clips of words in each noise, room and level, all in clean"
    if any(noise["heard_in_training"] for noise in facts["noises"].values()):
        note += f"; {HEARD_MARK} training heard this recording (augment.noise_held_out)"
    return note


def shown(figure: Mapping[str, Any]) -> str:
    return percent(figure["accuracy"])


def interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval_95"]
    return f"{100 * low:.0f}–{100 * high:.0f}%"
