"""What `operating_points` found, as tables for a person to read."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TextIO

from speech_commands_kws.cli.terminal import write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation.metrics import percent
from speech_commands_kws.inference.detector import MS_PER_SECOND

ALL_SOUND = "all sound"


class Table(NamedTuple):
    """Heads, rows, and the heads of the columns of figures."""

    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numbers: tuple[str, ...]


def write_point(facts: Mapping[str, Any], stream: TextIO) -> None:
    """Write a point of operation: its misses, false alarms and latency."""
    for table in point_tables(facts):
        write_rows(stream, table.heads, table.rows, numbers=table.numbers)
    stream.write(latency_line(facts["latency_seconds"]))
    if facts.get("gate"):
        closed = facts["gate"]["closed"].items()
        shares = ", ".join(f"{percent(share)} of {display_name(kind)}" for kind, share in closed)
        stream.write(f"the gate was closed for {shares}\n")


def point_tables(facts: Mapping[str, Any]) -> Iterator[Table]:
    """Misses by condition and by keyword, and false alarms by kind of sound."""
    figures = ("words", "missed", "95% interval", "confused")
    groups = [("all words", facts["misses"])]
    groups += facts["misses_by_condition"].items()
    rows = [miss_row(name, found) for name, found in groups]
    yield Table(("condition", *figures), rows, figures)
    alarms = facts["false_alarms_by_keyword"]
    keywords = [
        (*miss_row(keyword, found), f"{facts['thresholds'][keyword]:g}", str(alarms[keyword]))
        for keyword, found in facts["misses_by_keyword"].items()
    ]
    figures = (*figures, "threshold", "false alarms")
    yield Table(("keyword", *figures), keywords, figures)
    figures = ("hours", "false alarms", "an hour", "95% limit", "said or alike")
    # A model that was tuned before other kinds were heard tells of all sound alone.
    counted, all_sound = facts["false_alarms"], facts.get("false_alarms_in_all_sound")
    kinds = {counted.get("sound", ALL_SOUND): counted, **facts["false_alarms_by_kind"]}
    if all_sound and all_sound["hours"] > counted["hours"]:
        kinds[ALL_SOUND] = all_sound
    rows = [
        (
            display_name(kind),
            f"{found['hours']:.2f}",
            str(found["alarms"]),
            *(shown_rate(found[name]) for name in ("per_hour", "limit_95")),
            str(found["said_or_alike"]),
        )
        for kind, found in kinds.items()
    ]
    yield Table(("without keywords", *figures), rows, figures)


def latency_line(latency: Mapping[str, float | None]) -> str:
    if latency["median"] is None:
        return ""
    median, late = (latency[name] * MS_PER_SECOND for name in ("median", "p95"))
    return f"decided {median:.0f} ms after the end of a word (median), 95% within {late:.0f} ms\n"


def miss_row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = found["interval_95"]
    return (
        display_name(name),
        str(found["words"]),
        percent(found["miss_rate"]),
        f"{percent(low)} to {percent(high)}",
        str(found["confusions"]),
    )


def shown_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2f}"
