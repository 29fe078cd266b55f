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

HASH = re.compile("[0-9a-f]{64}")
SHORT = 16


def describe(model: Path, info: ModelInfo) -> dict[str, Any]:
    """The facts about a model file, in the order in which they are shown."""
    content = model.read_bytes()
    facts = asdict(info)
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
    rows = [(display_name(name), display_name(text)) for name, text in _rows(facts)]
    rows = [(name, f"{text[:SHORT]}…" if HASH.fullmatch(text) else text) for name, text in rows]
    write_rows(stream, ("fact", "value"), rows, wrapped="value")
    stream.write(f"{note} format=json has everything in full.".lstrip() + "\n")


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
