"""Builds what a release contains: the model file, its variant in fewer bits, and the card that tells about both."""

import logging
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.run_data import recorded_split, sample_evenly, score
from speech_commands_kws.cli.launch import build, settings_of
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.data.speech_tree import TRAIN
from speech_commands_kws.errors import (
    KwsError,
    check_flag,
    check_number,
    check_positive,
    check_whole,
)
from speech_commands_kws.evaluation import scoring
from speech_commands_kws.evaluation.metrics import operating_point
from speech_commands_kws.evaluation.scoring import Scores
from speech_commands_kws.figures.evaluation import draw
from speech_commands_kws.files.atomic import replacing, write_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import MODEL_FILE
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.labels import is_keyword, keywords_of
from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.latency import median_latency_ms
from speech_commands_kws.packaging.model_card import model_card, streaming_card, temperature_note
from speech_commands_kws.packaging.onnx_export import (
    check_opset,
    operator_counts,
    write_metadata,
    write_onnx,
    write_streaming_onnx,
)
from speech_commands_kws.packaging.parity import (
    REAL,
    check_parity,
    check_streaming_parity,
    compare,
    probe_waveforms,
)
from speech_commands_kws.packaging.quantize import Fp16, Int8
from speech_commands_kws.packaging.temperature import Temperature, tempered
from speech_commands_kws.tracking import registry

LOG = logging.getLogger(__name__)
# Of the clips for calibration there are so many times fewer of each other kind of sound.
PROBE_SHARE = 8
DIGITS = 6


@dataclass(frozen=True)
class Release:
    """A model file and what was measured of it.

    Attributes:
        path: the file.
        info: what it says about itself.
        scores: its predictions for the validation clips.
        clips: (n, T) some of them.
        difference: largest difference from the trained module.
        latency_ms: for one clip on one thread.
    """

    path: Path
    info: ModelInfo
    scores: Scores
    clips: np.ndarray
    difference: float
    latency_ms: float

    @property
    def figures(self) -> dict[str, float]:
        """By the names that MLflow keeps them under."""
        return {
            registry.PARITY: self.difference,
            registry.LATENCY: self.latency_ms,
            registry.SIZE: self.path.stat().st_size,
        }


def check_settings(cfg: DictConfig) -> None:
    """Refuse what would be found only when the file is written."""
    check_flag(register=cfg.register)
    check_whole(batch_size=cfg.batch_size)
    check_whole(0, seed=cfg.seed)
    check_opset(cfg.opset)
    with settings_of("parity"):
        check_whole(clips=cfg.parity.clips)
        check_positive(tolerance=cfg.parity.tolerance)
        for size in cfg.parity.batch_sizes:
            check_whole(batch_sizes=size)
    with settings_of("detection"):
        check_positive(hop_seconds=cfg.detection.hop_seconds)
        check_number(0, 1, false_alarms_per_clip=cfg.detection.false_alarms_per_clip)
    with settings_of("card"):
        check_whole(bins=cfg.card.bins, worst=cfg.card.worst)
    with settings_of("latency"):
        check_whole(repeats=cfg.latency.repeats)
        check_whole(0, warm_up=cfg.latency.warm_up)


def copy_registered(cfg: DictConfig) -> float:
    """Copy a registered model to `output`; returns its size in bytes."""
    if cfg.output is None or cfg.register:
        raise KwsError(
            f"model={cfg.model} copies a registered model: give output=FILE, and no register"
        )
    output = output_file(cfg.output, Path(MODEL_FILE))
    source = build(cfg.registry)(cfg.model)
    with replacing(output) as partial:
        shutil.copyfile(source, partial)
    LOG.info("%s: %s, %d bytes", output, cfg.model, output.stat().st_size)
    return float(output.stat().st_size)


def output_file(name: str | None, default: Path) -> Path:
    """The file to write, known to be one before the work begins.

    Raises:
        KwsError: it has another ending than the default, by which nobody would know what it is, or is a folder.
    """
    path = default if name is None else Path(str(name)).expanduser()
    if path.suffix != default.suffix or path.is_dir():
        raise KwsError(f"output must be a file that ends in {default.suffix}, got {path}")
    return path


def build_release(
    cfg: DictConfig,
    temperature: Temperature,
    spotter: SpotterModule,
    info: ModelInfo,
    split: SplitClips,
    output: Path,
) -> Release:
    """Write the model file, which says how accurate it is on the validation split and how to decide with it.

    The logits of `spotter` are divided by the temperature from then on, as those of the file are.

    Raises:
        KwsError: its outputs differ from those of the trained module, or it listens to streams and a temperature is
            given; nothing is written.
    """
    if spotter.streams and temperature.value not in (None, 1):
        raise KwsError(
            f"temperature.value={temperature.value} is for models of clips, and this one listens to streams, on which "
            "`kws tune` chooses its thresholds: leave it out"
        )
    clips = sample_evenly(split, cfg.parity.clips)
    with replacing(output) as partial:
        write_onnx(spotter, info, cfg.opset, partial)
        scores = trained = score(OnnxBackend(partial), split, cfg.batch_size)
        divisor = 1.0
        if not spotter.streams:  # whose thresholds are chosen on streams
            divisor = temperature.choose(trained.probabilities, trained.targets)
        if divisor != 1:
            spotter.divide_logits(divisor)
            write_onnx(spotter, info, cfg.opset, partial)
            scores = replace(trained, probabilities=tempered(trained.probabilities, divisor))
        facts = {"precision": "fp32", "temperature": divisor}
        facts |= {"before_temperature": sureness(trained, cfg.card.bins)}
        info = replace(
            info,
            training=info.training | facts | file_facts(partial, scores, cfg.card.bins),
            detection=detection_facts(scores, **cfg.detection),
        )
        write_metadata(info, partial)
        difference = check_parity(
            spotter,
            partial,
            probe_waveforms(clips, cfg.seed),
            cfg.parity.batch_sizes,
            cfg.parity.tolerance,
        )
    latency = median_latency_ms(OnnxBackend(output), clips[:1], **cfg.latency)
    LOG.info(
        "%s: %d bytes, accuracy %.4f on %d validation clips, differs from torch by at most %.1e, takes %.2f ms a clip "
        "on one thread",
        *(output, output.stat().st_size, scores.accuracy, len(scores.targets), difference, latency),
    )
    if divisor != 1:
        LOG.info(temperature_note(info.training))
    if info.threshold_note:
        LOG.info(info.threshold_note)
    return Release(output, info, scores, clips, difference, latency)


def build_streaming(cfg: DictConfig, spotter: SpotterModule, model: Release, output: Path) -> Path:
    """Write the form of a streaming backbone that listens.

    Raises:
        KwsError: its answers differ from those of the trained module; nothing is written.
    """
    keywords = keywords_of(model.info.labels)
    settings = OmegaConf.to_container(cfg.detector)
    thresholds = dict.fromkeys(keywords, settings.pop("threshold"))
    info = replace(model.info, detection={}, detector={"thresholds": thresholds, **settings})
    with replacing(output) as partial:
        info = write_streaming_onnx(spotter, info, cfg.opset, partial)
        facts = info.training | {"operators": operator_counts(partial)}
        write_metadata(replace(info, training=facts), partial)
        probes = probe_waveforms(model.clips, cfg.seed)
        difference = check_streaming_parity(spotter, partial, probes, cfg.parity.tolerance)
    LOG.info(
        "%s: %d bytes, for streams, differs from torch by at most %.1e; choose its thresholds with `kws tune`",
        *(output, output.stat().st_size, difference),
    )
    return output


def write_streaming_card(model: Path) -> Path:
    """Write the card of a streaming model beside it, with what its thresholds were measured to do."""
    card = model.with_suffix(".md")
    write_whole(card, streaming_card(model, StreamingModel(model).info))
    return card


def build_variant(
    cfg: DictConfig, variant: Int8 | Fp16, model: Release, split: SplitClips, saved: DictConfig
) -> Path:
    """Write the variant beside the model.

    Args:
        saved: the configuration of the run, which tells the training split for calibration.

    Raises:
        KwsError: it does not pass its gate; nothing is written.
    """
    output = model.path.with_suffix(f".{variant.name}{model.path.suffix}")
    probes = probe_waveforms(model.clips, cfg.seed)
    with replacing(output) as partial:
        variant.convert(model.path, partial, calibration_waveforms(cfg, variant, model, saved))
        backend = OnnxBackend(partial)
        scores = score(backend, split, cfg.batch_size)
        agreement = float(np.mean(scores.predictions == model.scores.predictions))
        loss = model.scores.accuracy - scores.accuracy
        compared = compare(OnnxBackend(model.path), backend, probes, [len(model.clips)])
        objections = variant.gate.objections(loss, agreement, compared)
        if objections:
            raise KwsError(
                f"the {variant.name} variant is not written: {objections}; "
                "export without quantize=, or with wider bounds (quantize.gate)"
            )
        latency = median_latency_ms(backend, model.clips[:1], **cfg.latency)
        facts = {
            "of": sha256(model.path.read_bytes()).hexdigest(),
            "accuracy_loss": round(loss, DIGITS),
            "agreement": agreement,
            "latency_ms": latency,
        }
        changed = {"precision": variant.name, "variant": facts}
        changed |= file_facts(partial, scores, cfg.card.bins)
        detection = detection_facts(scores, **cfg.detection)
        info = replace(model.info, training=model.info.training | changed, detection=detection)
        write_metadata(info, partial)
    LOG.info(
        "%s: %d bytes, accuracy %.4f (%+.4f), the same prediction for %.2f%% of the validation clips, %.2f ms a clip, "
        "%.2f times as long",
        *(output, output.stat().st_size, scores.accuracy, -loss),
        *(100 * agreement, latency, latency / model.latency_ms),
    )
    return output


def calibration_waveforms(
    cfg: DictConfig, variant: Int8 | Fp16, model: Release, saved: DictConfig
) -> np.ndarray:
    """(n, T) clips of the training split, with silence, clipping and noise among them."""
    if not variant.calibration_clips:
        return model.clips[:0]
    clips = sample_evenly(recorded_split(saved, model.info, TRAIN), variant.calibration_clips)
    others = probe_waveforms(clips[::PROBE_SHARE], cfg.seed)
    return np.concatenate([clips, *(sounds for kind, sounds in others.items() if kind != REAL)])


def file_facts(path: Path, scores: Scores, bins: int) -> dict[str, Any]:
    return {
        "operators": operator_counts(path),
        "accuracy": scores.accuracy,
        "accuracy_split": "validation",
        "accuracy_clips": len(scores.targets),
        **sureness(scores, bins),
    }


def sureness(scores: Scores, bins: int) -> dict[str, float]:
    """How far the probabilities are from the shares of right answers."""
    facts = scoring.summary(scores, bins, worst=0)
    return {name: facts[name] for name in ("log_loss", "expected_calibration_error")}


def detection_facts(
    scores: Scores, hop_seconds: float, false_alarms_per_clip: float
) -> dict[str, float]:
    """What the file says about deciding with it; no threshold where all validation clips are keywords."""
    keywords = np.array(list(map(is_keyword, scores.labels)))
    point = operating_point(scores.probabilities, scores.targets, keywords, false_alarms_per_clip)
    facts = {"hop_seconds": hop_seconds} | (point._asdict() if point else {})
    return {name: round(value, DIGITS) for name, value in facts.items()}


def write_card(cfg: DictConfig, model: Release, split: SplitClips) -> Path:
    """Write the card beside the model, with the pictures of its evaluation in a folder of the same name."""
    folder = model.path.with_suffix("")
    facts = scoring.summary(model.scores, cfg.card.bins, cfg.card.worst)
    worst = scoring.worst_clips(model.scores, split, cfg.card.worst)
    title = f"validation clips: {scoring.headline(facts)}\n{model.info.training['run']}"
    pictures = draw(model.scores, worst, model.info.frontend, title, cfg.card.bins, folder)
    pictures += sorted((model.path.parent / "plots").glob("*.png"))
    figures = {
        "largest difference from torch": f"{model.difference:.1e}",
        "time for one clip, one thread, median": f"{model.latency_ms:.2f} ms",
    }
    card = model.path.with_suffix(".md")
    text = model_card(model.path, model.info, facts, figures, variants_of(model.path), pictures)
    write_whole(card, text)
    return card


def variants_of(model: Path) -> list[tuple[Path, ModelInfo]]:
    """The variants of this very file that lie beside it."""
    own = sha256(model.read_bytes()).hexdigest()
    found = []
    for path in sorted(model.parent.glob(f"{model.stem}.*{model.suffix}")):
        info = OnnxBackend(path).info
        if info.training.get("variant", {}).get("of") == own:
            found.append((path, info))
    return found
