"""Show what of this installation is there and works: `kws doctor [format=json]`.

The exit status is 1 where something is broken, 0 where only something optional is missing.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.checkup import BROKEN, MISSING, Line, Places, check_up
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import write_rows
from speech_commands_kws.errors import ReportedError, check_choice, check_positive, display_name

FORMATS = ("table", "json")


def run(cfg: DictConfig) -> float:
    """Write the lines to standard output; return how many checks there were.

    Raises:
        ReportedError: something is broken.
    """
    check_choice(FORMATS, format=cfg.format)
    paths = {
        name: Path(cfg.paths[name]).expanduser() for name in ("root", "data", "runs", "triton")
    }
    limits = {name: cfg[name] for name in ("wait_seconds", "least_free_gb")}
    check_positive(**limits)
    places = Places(**paths, tracking_uri=cfg.registry.tracking_uri, **limits)
    lines = list(check_up(places))
    if cfg.format == "json":
        sys.stdout.write(json.dumps(list(map(asdict, lines)), indent=2) + "\n")
    else:
        write_table(lines)
    if any(line.status == BROKEN for line in lines):
        sys.stdout.flush()
        raise ReportedError("something is broken")
    return float(len(lines))


def write_table(lines: list[Line]) -> None:
    rows = [
        (line.name, line.status, display_name(": ".join(filter(None, (line.detail, line.cure)))))
        for line in lines
    ]
    write_rows(sys.stdout, ("check", "status", "what"), rows, wrapped="what")
    counts = {each: [line.status for line in lines].count(each) for each in (BROKEN, MISSING)}
    sys.stdout.write(f"{counts[BROKEN]} broken, {counts[MISSING]} missing, which are optional.\n")


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="doctor", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
