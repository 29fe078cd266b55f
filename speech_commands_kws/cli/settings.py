"""What settings must be, where no other part of the program would refuse them with a line of its own."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from omegaconf import OmegaConf

from speech_commands_kws.errors import KwsError

MISSING, INTERPOLATION = "???", "${"
# A sampled sound is one between these (Hz), and a clip lasts no longer (seconds); see `audio`.
LOWEST_RATE, HIGHEST_RATE, SHORTEST_SECONDS, LONGEST_SECONDS = 1_000, 768_000, 0.01, 600
LARGEST_SEED = 2**32 - 1
# What espeak-ng speaks (words a minute), and its scale of pitch.
SLOWEST_RATE, FASTEST_RATE, HIGHEST_PITCH = 80, 450, 100
# Beyond these an effect leaves nothing of a word, or takes hours.
SLOWEST, FASTEST, MOST_SEMITONES = 0.1, 10, 24
HIGHEST_PORT = 65_535
MOST_BITS, MOST_REFLECTIONS, PERCENT, SHORTEST_WINDOW = 24, 100, 100, 4


@dataclass(frozen=True)
class Number:
    """From `low` to `high`; `above` and `below` leave these themselves out."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.low == -math.inf:
            return kind
        if self.high == math.inf:
            return f"{kind} above {self.low}" if self.above else f"{kind} of {self.low} or more"
        if self.above or self.below:
            start = f"above {self.low}" if self.above else f"of {self.low} or more"
            return f"{kind} {start} and {'below' if self.below else 'at most'} {self.high}"
        return f"{kind} from {self.low} to {self.high}"

    def fits(self, value: Any) -> bool:
        if not is_number(value) or self.whole and not isinstance(value, int):
            return False
        low = self.low < value if self.above else self.low <= value
        high = value < self.high if self.below else value <= self.high
        return low and high


@dataclass(frozen=True)
class Pair:
    """The limits between which something is drawn."""

    of: Number

    def __str__(self) -> str:
        return f"[lowest, highest], each {self.of}"

    def fits(self, value: Any) -> bool:
        two = isinstance(value, list) and len(value) == 2 and all(map(self.of.fits, value))
        return two and value[0] <= value[1]


@dataclass(frozen=True)
class Several:
    """A list of numbers or texts."""

    of: Any
    least: int = 1

    def __str__(self) -> str:
        return f"a list, each {self.of}" + (", at least one" if self.least else "")

    def fits(self, value: Any) -> bool:
        return (
            isinstance(value, list) and len(value) >= self.least and all(map(self.of.fits, value))
        )


@dataclass(frozen=True)
class Table:
    """Numbers by something: `{1: 0, 3: 0.3}`."""

    of: Number
    keys: Any

    def __str__(self) -> str:
        return f"a table of {self.keys} to {self.of}"

    def fits(self, value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(map(self.keys.fits, value))
            and all(map(self.of.fits, value.values()))
        )


@dataclass(frozen=True)
class Text:
    """A text that is not empty and has a form; Hydra reads `3` as a number, and `'3'` as a text."""

    what: str = "a text"
    form: str = ".+"
    or_number: bool = False

    def __str__(self) -> str:
        return self.what

    def fits(self, value: Any) -> bool:
        if self.or_number and is_number(value):
            value = str(value)
        return isinstance(value, str) and re.fullmatch(self.form, value, re.DOTALL) is not None


@dataclass(frozen=True)
class Truth:
    """Hydra reads `no` as a text, which would count as true."""

    def __str__(self) -> str:
        return "true or false"

    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Group:
    """Settings of something that is built."""

    def __str__(self) -> str:
        return "a group of settings"

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict)


ANY, COUNT, NATURAL = Number(), Number(1, whole=True), Number(0, whole=True)
POSITIVE, NOT_NEGATIVE, SHARE = Number(0, above=True), Number(0), Number(0, 1)
BELOW_ONE = Number(0, 1, below=True)
WORD = Text("a text (in quotes where it looks like a number or a truth value)")
NAME = Text("a name", or_number=True)
PATH = Text("a path (in quotes where it looks like a number)")

# What the values of keys must be. In a key * stands for any part of it: `data*.` is also `data.spoken.` of data=mixed.
DEMANDS = (
    (
        Truth(),
        "resume register descending playback quantize.symmetric quantize.grouped backbone.fast_training "
        "logger.system_metrics task.unknown task.silence loader.resident optimizer.nesterov",
    ),
    (
        Group(),
        "augment.waveform augment.spectrogram optimizer scheduler frontend backbone trainer task "
        "data.source limits data.source.download",
    ),
    (
        COUNT,
        "loader.batch_size loader.evaluation_batch_size trainer.max_epochs sweep.trials sweep.jobs "
        "sweep.attempts frontend.sample_rate frontend.n_fft frontend.n_mels backbone.channels "
        "backbone.n_blocks backbone.sub_bands augment.*.order augment.*.rooms.rooms "
        "augment.*.rooms.places robustness.rooms.rooms robustness.rooms.places "
        "robustness.babble_voices bins worst batch_size limits.clipped_samples data*.source.speakers "
        "data*.source.takes_per_word data*.source.speakers_per_chunk data*.source.babble_voices "
        "data.source.most_repeats data.source.enough_recordings data.source.download.attempts opset "
        "parity.clips card.bins card.worst latency.repeats quantize.calibration_clips triton.instances "
        "triton.intra_threads triton.max_batch_size triton.queue_size triton.versions_kept "
        "server.http_threads server.exit_seconds watch.faults watch.looks",
    ),
    (
        NATURAL,
        "examples robustness.clips augment.*.time_masks augment.*.time_width "
        "augment.*.frequency_masks data*.source.unknown_per_speaker data*.source.near_misses "
        "data*.source.near_misses_per_speaker data*.source.babbles latency.warm_up triton.queue_delay_us "
        "triton.queue_timeout_us server.log_verbose watch.restarts",
    ),
    (
        Number(0, LARGEST_SEED, whole=True),
        "seed loader.seed sweep.seed robustness.seed data*.source.seed *.rooms.seed",
    ),
    (
        Number(LOWEST_RATE, HIGHEST_RATE, whole=True),
        "sample_rate loader.sample_rate data*.source.sample_rate",
    ),
    (
        Number(SHORTEST_SECONDS, LONGEST_SECONDS),
        "clip_seconds loader.clip_seconds data*.source.clip_seconds *.rooms.seconds",
    ),
    (Number(1, LONGEST_SECONDS), "data*.source.noise_seconds"),
    (Number(0, MOST_REFLECTIONS, whole=True), "*.rooms.max_order"),
    (Number(SHORTEST_WINDOW, whole=True), "augment.*.window_samples"),
    (
        POSITIVE,
        "frontend.window_ms frontend.hop_ms frontend.log_floor optimizer.lr sweep.lost_after_seconds "
        "sweep.beat_seconds augment.noise_folder_seconds limits.loud_seconds "
        "data.source.download.timeout_seconds data.source.download.space_factor detection.hop_seconds "
        "parity.tolerance server.reload_seconds watch.every_seconds watch.timeout_seconds "
        "watch.start_seconds container.cpus",
    ),
    (
        NOT_NEGATIVE,
        "optimizer.weight_decay plan_gate.difference plan_gate.same_keyword plan_gate.accuracy_loss "
        "trainer.gradient_clip_val loader.silence_volume augment.*.shift_ms augment.*_amplitude "
        "*.rooms.wall_distance_m limits.short_seconds limits.offset data*.source.near_miss_distance "
        "data*.source.pitch_jitter data*.source.level_jitter_db data.source.download.backoff_seconds "
        "registration.gate.accuracy_loss registration.gate.parity_difference registration.gate.latency_ms",
    ),
    (
        SHARE,
        "label_smoothing scheduler.warmup_fraction augment.*.share augment.waveform.probability "
        "augment.mixup.least_weight limits.sure detection.false_alarm_rate "
        "quantize.gate.accuracy_loss quantize.gate.agreement quantize.gate.trial_agreement",
    ),
    (
        BELOW_ONE,
        "optimizer.momentum augment.noise_held_out data*.source.rate_jitter data.source.recorded_share",
    ),
    (Number(0, 1, above=True), "robustness.held_out"),
    (Number(0, PERCENT), "data.validation_percent data.test_percent"),
    (ANY, "limits.silent_db data*.source.*_level_db"),
    (
        Pair(ANY),
        "augment.*snr_db augment.*.gain_db data*.source.level_db data*.source.floor_db data*.source.floor_colour",
    ),
    (
        Pair(POSITIVE),
        "augment.*.low_hz augment.*.high_hz augment.*.rt60_seconds *.rooms.length_m *.rooms.width_m *.rooms.height_m",
    ),
    (Pair(Number(1, MOST_BITS)), "augment.*.bits"),
    (Pair(Number(0, HIGHEST_PITCH)), "data*.source.pitch data*.source.pitch_range"),
    (Pair(Number(SLOWEST_RATE, FASTEST_RATE)), "data*.source.rate"),
    (Pair(SHARE), "data*.source.position"),
    (
        Number(1, HIGHEST_PORT, whole=True),
        "server.http_port server.grpc_port server.metrics_port",
    ),
    (Several(COUNT), "parity.batch_sizes"),
    (Several(ANY), "robustness.snr_db"),
    (Several(POSITIVE), "robustness.rt60_seconds"),
    (Several(POSITIVE, least=0), "data*.source.hum_hz"),
    (Several(Number(SLOWEST, FASTEST)), "augment.*.factors"),
    (Several(Number(-MOST_SEMITONES, MOST_SEMITONES)), "augment.*.semitones"),
    (Several(BELOW_ONE, least=2), "optimizer.betas"),
    (Table(SHARE, POSITIVE), "augment.mixup.shares"),
    (Table(NATURAL, POSITIVE), "augment.spectrogram.frequency_width"),
    (Table(NOT_NEGATIVE, NAME), "data*.source.noise_colours"),
    (Several(Group()), "data.source.download.archives"),
    (
        Several(WORD),
        "data.words task.words data*.source.voices data*.source.accents quantize.operators",
    ),
    (Several(WORD, least=0), "data.unknown_words data*.source.near_miss_candidates"),
    (Several(NAME, least=0), "data.validation_speakers data.test_speakers"),
    (
        PATH,
        "paths.* data.root data.test_root loader.cache cache run folder json_file "
        "augment.noise_folder robustness.noise_folder",
    ),
    (Text("a file .png or .svg or .pdf", r".*\.(?i:png|svg|pdf)"), "picture"),
    (Text("a regular expression"), "data.pattern"),
    (Text(), "data*.source.babble_text data.source.download.address"),
    (Text("a name for a folder, without /", "[^/]+", or_number=True), "name"),
    (
        # A folder below paths.runs, a study, and a text in a query of MLflow.
        Text(
            "a name for a folder: letters, digits and . , + = @ ( ) _ - within",
            r"\w[\w .,+=@()-]*",
            or_number=True,
        ),
        "sweep.name",
    ),
)
# Where null stands for something: nothing, all, or a choice of the program's.
MAY_BE_NULL = (
    "loader.resident trainer.gradient_clip_val augment.waveform.noise_snr_db sweep.* data.words "
    "task.words data*.source.near_miss_candidates data.test_root folder picture json_file "
    "*.noise_folder data.source.download"
).split()


def check_settings(cfg: Any) -> None:
    """Check those of the settings above that a configuration has.

    Raises:
        KwsError: one is not what it must be.
    """
    if not OmegaConf.is_config(cfg):
        return
    # What was set goes before what follows from it, so that the message names the former.
    for key, value in sorted(settings_in(OmegaConf.to_container(cfg)), key=is_interpolated):
        demand = demand_on(key)
        if demand is None or value == MISSING:  # the command says what is missing when it needs it
            continue
        if is_interpolated((key, value)):
            value = OmegaConf.select(cfg, key)
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
        null_fits = value is None and any(fnmatchcase(key, pattern) for pattern in MAY_BE_NULL)
        if not null_fits and not demand.fits(value):
            raise KwsError(f"{key} must be {demand}, got {value!r}")


def settings_in(node: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a node in its long form, with its value: a group's before those in it."""
    for name, value in node.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from settings_in(value, f"{prefix}{name}.")


def is_interpolated(setting: tuple[str, Any]) -> bool:
    return isinstance(setting[1], str) and INTERPOLATION in setting[1]


def demand_on(key: str) -> Any:
    """What the value of a key must be; None where that is left to others."""
    for demand, patterns in DEMANDS:
        if any(fnmatchcase(key, pattern) for pattern in patterns.split()):
            return demand
    return None


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
