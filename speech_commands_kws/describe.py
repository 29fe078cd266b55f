"""Show what an exported model says about itself: `kws describe model.onnx`."""

import json
import sys

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import engine_of, find_model
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.errors import KwsError, check_choice
from speech_commands_kws.inference.description import describe, write_table

FORMATS = ("table", "json")


def run(cfg: DictConfig) -> float:
    """Write the description to standard output; return the size of the file in bytes."""
    check_choice(FORMATS, format=cfg.format)
    if engine_of(cfg.backend).is_server:
        raise KwsError("describe reads a model file: leave backend= out, and give model=FILE")
    model = find_model(cfg, released=True)
    info = build(cfg.backend)(model).info
    facts = describe(model, info)
    if cfg.format == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        write_table(facts, sys.stdout, info.threshold_note)
    return float(facts["bytes"])


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="describe", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
