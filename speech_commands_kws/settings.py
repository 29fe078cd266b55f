"""Settings that no part of the program would refuse with a line of its own."""

import re
from numbers import Real
from typing import Any

from omegaconf import OmegaConf

from speech_commands_kws.errors import KwsError

BOOLEANS = (
    "resume",
    "register",
    "descending",
    "playback",
    "quantize.symmetric",
    "quantize.grouped",
    "backbone.fast_training",
    "logger.system_metrics",
    "task.unknown",
    "task.silence",
)
COUNTS = (
    "sample_rate",
    "loader.batch_size",
    "loader.evaluation_batch_size",
    "trainer.max_epochs",
    "sweep.trials",
    "sweep.jobs",
    "sweep.attempts",
    "frontend.sample_rate",
    "frontend.n_fft",
    "frontend.n_mels",
)
SEEDS = ("seed", "loader.seed", "sweep.seed")
POSITIVE = (
    "clip_seconds",
    "frontend.window_ms",
    "frontend.hop_ms",
    "optimizer.lr",
    "sweep.lost_after_seconds",
    "sweep.beat_seconds",
)
NOT_NEGATIVE = (
    "label_smoothing",
    "optimizer.weight_decay",
    "optimizer.momentum",
    "plan_gate.difference",
    "plan_gate.same_keyword",
    "plan_gate.accuracy_loss",
)
FOLDER_NAME = "name"
# A folder below paths.runs, a study, and a text in a query of MLflow.
SWEEP_NAME, SWEEP_NAME_FORM = "sweep.name", re.compile(r"\w[\w .,+=@()-]*")


def check_settings(cfg: Any) -> None:
    """Check those of the settings above that a configuration has.

    Raises:
        KwsError: one is not what it must be.
    """
    if not OmegaConf.is_config(cfg):
        return
    for key in BOOLEANS:  # Hydra reads `no` as a text, which would count as true
        expect(cfg, key, "true or false", lambda value: isinstance(value, bool))
    for key in COUNTS:
        expect(cfg, key, "a whole number of 1 or more", lambda value: is_whole(value) and value > 0)
    for key in SEEDS:
        expect(
            cfg, key, "a whole number of 0 or more", lambda value: is_whole(value) and value >= 0
        )
    for key in POSITIVE:
        expect(cfg, key, "a number above 0", lambda value: is_number(value) and value > 0)
    for key in NOT_NEGATIVE:
        expect(cfg, key, "a number of 0 or more", lambda value: is_number(value) and value >= 0)
    expect(cfg, FOLDER_NAME, "a name for a folder, without /", lambda value: "/" not in str(value))
    expect(
        cfg,
        SWEEP_NAME,
        "a name for a folder: letters, digits and . , + = @ ( ) _ - within",
        lambda value: SWEEP_NAME_FORM.fullmatch(str(value)),
    )


def expect(cfg: Any, key: str, expected: str, fits: Any) -> None:
    """Raises KwsError where the configuration has a value for a key that does not fit."""
    value = OmegaConf.select(cfg, key)
    if value is not None and not fits(value):
        raise KwsError(f"{key} must be {expected}, got {value!r}")


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
