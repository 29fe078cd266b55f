"""What an exported model says about itself, for reading."""

import re
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from speech_commands_kws.cli.terminal import write_rows
from speech_commands_kws.errors import display_name
from speech_commands_kws.inference.model_info import ModelInfo

# Of the network, and of the front-end, for one clip.
SIZES = ("parameters", "multiply_adds", "frontend_multiply_adds")
# What other models have nothing of.
OF_STREAMS = ("streaming", "detector", "operating_points")

HASH = re.compile("[0-9a-f]{64}")
SHORT = 16


def describe(model: Path, info: ModelInfo) -> dict[str, Any]:
    """The facts about a model file, in the order in which they are shown."""
    content = model.read_bytes()
    facts = asdict(info)
    facts = {name: fact for name, fact in facts.items() if fact or name not in OF_STREAMS}
    operators = facts["training"].pop("operators", {})
    nested = {name: facts.pop(name) for name in ("frontend", "detection", "training")}
    return {
        "file": str(model),
        "bytes": len(content),
        "sha256": sha256(content).hexdigest(),
        **{name: info.training[name] for name in SIZES if name in info.training},
        "operators": operators,
        **facts,
        "clip_seconds": info.clip_samples / info.sample_rate,
        **nested,
    }


def write_table(facts: dict[str, Any], stream: TextIO, note: str = "") -> None:
    rows = [(display_name(name), display_name(text)) for name, text in _rows(in_short(facts))]
    rows = [(name, f"{text[:SHORT]}…" if HASH.fullmatch(text) else text) for name, text in rows]
    write_rows(stream, ("fact", "value"), rows, wrapped="value")
    stream.write(f"{note} format=json has everything in full.".lstrip() + "\n")


def in_short(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with a row for all thresholds of a detector, and with a few for what they were measured to do."""
    shown = dict(facts)
    if facts.get("detector"):
        thresholds = facts["detector"]["thresholds"].items()
        texts = [f"{keyword} {threshold:g}" for keyword, threshold in thresholds]
        shown["detector"] = facts["detector"] | {"thresholds": texts}
    if facts.get("operating_points"):
        shown["operating_points"] = operating_rows(facts["operating_points"])
    return shown


def operating_rows(point: dict[str, Any]) -> dict[str, str]:
    """What `kws tune` measured: words missed, false alarms and latency, each in a row."""
    missed, alarms, latency = point["misses"], point["false_alarms"], point["latency_seconds"]
    low, high = missed["interval_95"]
    by_condition = [
        f"{name} {found['miss_rate']:.1%}" for name, found in point["misses_by_condition"].items()
    ]
    by_kind = [f"{name} {found['alarms']}" for name, found in point["false_alarms_by_kind"].items()]
    rows = {
        "chosen_for": f"{point['wanted_per_hour']:g} false alarms an hour, {point['split']} split",
        "missed": f"{missed['miss_rate']:.1%} of {missed['words']} words (95% interval {low:.1%} to {high:.1%})",
        "missed_by_condition": ", ".join(by_condition),
        "false_alarms": f"{alarms['per_hour']:.2f} an hour, below {alarms['limit_95']:.2f} with 95% confidence: "
        f"{alarms['alarms']} in {alarms['hours']:.2f} h of {alarms.get('sound', 'sound without keywords')}",
        "false_alarms_by_kind": ", ".join(by_kind),
    }
    if latency["median"] is not None:
        rows["latency"] = (
            f"{latency['median']:.2f} s after the end of a word (median), 95% within {latency['p95']:.2f} s"
        )
    return rows


def _rows(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows of dotted names and texts."""
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            text = f"{value:.4g}" if isinstance(value, float) else text
            rows.append((f"{prefix}{name}", text))
    return rows
