"""Train a keyword spotter: `python -m speech_commands_kws.train [overrides]`."""

import logging
from contextlib import nullcontext

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.resume import open_run
from speech_commands_kws.assembly.training import check_settings, train
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    is_multirun,
    run_command,
)
from speech_commands_kws.errors import KwsError, check_flag
from speech_commands_kws.tracking import runs
from speech_commands_kws.training.data_parallel import is_first_process
from speech_commands_kws.training.objectives import check_objectives


def run(cfg: DictConfig) -> float | list[float]:
    """Train, or go on with a training; returns its objectives: a number, or several where the sweep has several."""
    check_objectives(cfg.sweep.objectives)
    check_flag(resume=cfg.resume)
    waveform_augment = None if cfg.resume else check_settings(cfg)
    folder, cfg = open_run(cfg)
    if not is_first_process():
        logging.getLogger().setLevel(logging.WARNING)
    try:
        with runs.log_file(folder / runs.LOG_FILE) if is_first_process() else nullcontext():
            measured = train(cfg, folder, waveform_augment)
    except (KwsError, KeyboardInterrupt):
        if is_first_process() and not is_multirun():
            runs.remove_unused(folder)
        raise
    values = [float(measured[name]) for name in cfg.sweep.objectives]
    return values[0] if len(values) == 1 else values


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="train", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | list[float] | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
