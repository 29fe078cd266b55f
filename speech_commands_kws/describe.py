"""Show what an exported model says about itself: `kws describe model.onnx`."""

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, run_answering
from speech_commands_kws.errors import KwsError, check_choice, display_name
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.model_info import ArtefactInfo
from speech_commands_kws.inference.onnx_operators import operator_counts

# Of the network, and of the front-end, for one clip.
SIZES = ("parameters", "multiply_adds", "frontend_multiply_adds")


def describe(model: Path, info: ArtefactInfo) -> dict[str, Any]:
    """The facts about a model file, in the order in which they are shown."""
    content = model.read_bytes()
    facts = asdict(info)
    nested = {name: facts.pop(name) for name in ("frontend", "detection", "training")}
    return {
        "file": str(model),
        "bytes": len(content),
        "sha256": sha256(content).hexdigest(),
        **{name: info.training[name] for name in SIZES if name in info.training},
        "operators": operator_counts(content),
        **facts,
        "clip_seconds": info.clip_samples / info.sample_rate,
        **nested,
    }


def write_table(facts: dict[str, Any], stream: TextIO) -> None:
    table = Table("fact", "value", box=SIMPLE, show_header=False)
    table.columns[1].overflow = "fold"
    for name, text in _rows(facts):
        table.add_row(display_name(name), display_name(text))
    Console(file=stream, markup=False, emoji=False, highlight=False).print(table)


def write_json(facts: dict[str, Any], stream: TextIO) -> None:
    stream.write(json.dumps(facts, indent=2) + "\n")


WRITERS = {"table": write_table, "json": write_json}


def run(cfg: DictConfig) -> float:
    """Write the description to standard output; return the size of the file in bytes."""
    check_choice(WRITERS, format=cfg.format)
    if "url" in cfg.backend:
        raise KwsError("describe reads a model file: leave backend= out, and give model=FILE")
    model = locate_model(cfg.model, cfg.paths.runs, instantiate(cfg.registry))
    facts = describe(model, instantiate(cfg.backend)(model).info)
    WRITERS[cfg.format](facts, sys.stdout)
    return float(facts["bytes"])


def _rows(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows of dotted names and texts."""
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            rows.append((f"{prefix}{name}", text))
    return rows


@hydra.main(config_path=CONFIG_DIR, config_name="describe", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
