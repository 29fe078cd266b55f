"""Settings that no part of the program would refuse with a line of its own."""

import math
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
    "opset",
    "batch_size",
    "bins",
    "worst",
    "parity.clips",
    "card.bins",
    "card.worst",
    "latency.repeats",
    "quantize.calibration_clips",
    "triton.instances",
    "triton.intra_threads",
    "triton.max_batch_size",
    "triton.queue_size",
    "triton.versions_kept",
    "server.http_threads",
    "server.exit_seconds",
    "watch.faults",
    "watch.looks",
)
SEEDS = ("seed", "loader.seed", "sweep.seed")
NATURAL = (
    *SEEDS,
    "latency.warm_up",
    "triton.queue_delay_us",
    "triton.queue_timeout_us",
    "server.log_verbose",
    "watch.restarts",
)
PORTS, HIGHEST_PORT = ("server.http_port", "server.grpc_port", "server.metrics_port"), 65_535
LISTS_OF_COUNTS = ("parity.batch_sizes",)
SHARES = (
    "detection.false_alarm_rate",
    "quantize.gate.accuracy_loss",
    "quantize.gate.agreement",
    "quantize.gate.trial_agreement",
)
POSITIVE = (
    "clip_seconds",
    "frontend.window_ms",
    "frontend.hop_ms",
    "optimizer.lr",
    "sweep.lost_after_seconds",
    "sweep.beat_seconds",
    "detection.hop_seconds",
    "parity.tolerance",
    "server.reload_seconds",
    "watch.every_seconds",
    "watch.timeout_seconds",
    "watch.start_seconds",
    "container.cpus",
)
NOT_NEGATIVE = (
    "label_smoothing",
    "optimizer.weight_decay",
    "optimizer.momentum",
    "plan_gate.difference",
    "plan_gate.same_keyword",
    "plan_gate.accuracy_loss",
    "registration.gate.accuracy_loss",
    "registration.gate.parity_difference",
    "registration.gate.latency_ms",
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
    for key in NATURAL:
        expect(
            cfg, key, "a whole number of 0 or more", lambda value: is_whole(value) and value >= 0
        )
    for key in POSITIVE:
        expect(cfg, key, "a number above 0", lambda value: is_number(value) and value > 0)
    for key in NOT_NEGATIVE:
        expect(cfg, key, "a number of 0 or more", lambda value: is_number(value) and value >= 0)
    for key in PORTS:
        expect(
            cfg,
            key,
            f"a whole number from 1 to {HIGHEST_PORT}",
            lambda value: is_whole(value) and 0 < value <= HIGHEST_PORT,
        )
    for key in SHARES:
        expect(cfg, key, "a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
    for key in LISTS_OF_COUNTS:
        expect(
            cfg,
            key,
            "a list, each a whole number of 1 or more, at least one",
            lambda value: OmegaConf.is_list(value)
            and len(value) > 0
            and all(is_whole(entry) and entry > 0 for entry in value),
        )
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
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
