"""The page that tells of a run: gathers what its folder holds, writes it, and records it with the run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from speech_commands_kws.assembly.streaming import PICTURE
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation.scoring import ScoredClip
from speech_commands_kws.figures.report import HeardClip, write_report
from speech_commands_kws.files.atomic import make_writable
from speech_commands_kws.inference.locate import STREAMING_FILE
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.packaging.model_card import SIZES, fact_rows, origin_rows
from speech_commands_kws.tracking import recording

SUFFIX = ".html"
PLOTS = "plots"
NOT_SCORED = (
    "Written at the end of the training: `kws evaluate report=FILE.html` adds figures and clips."
)


def report_file(cfg: DictConfig) -> Path | None:
    """The page to write, known to be one before the work begins; None where none is asked for.

    Raises:
        KwsError: it has another ending, is a folder, or its folder takes no file.
    """
    if cfg.get("report") is None:
        return None
    path = Path(str(cfg.report)).expanduser()
    if path.suffix.lower() != SUFFIX or path.is_dir():
        raise KwsError(f"report must be a file that ends in {SUFFIX}, got {display_name(path)}")
    make_writable(path.parent)
    return path


def write_evaluation(
    path: Path,
    title: str,
    info: ModelInfo,
    run_folder: Path | None,
    pictures: Iterable[Path],
    scores: Mapping[str, Any] | None = None,
    worst: Sequence[ScoredClip] = (),
    point: Mapping[str, Any] | None = None,
) -> None:
    """Write what an evaluation found, with what is known of the training; MLflow keeps it where it knows the run.

    Args:
        scores, worst, point, pictures: as of `write_report`; without a point that of the run's streaming model.
    """
    clips = []
    if worst:
        # Here and not above: librosa, which draws the mel images, loads slowly.
        from speech_commands_kws.figures.clips import mel_png

        clips = [
            HeardClip(clip, info.sample_rate, mel_png(clip.waveform, info.frontend))
            for clip in worst
        ]
    streaming = run_folder and run_folder / STREAMING_FILE
    if point is None and streaming and streaming.is_file():
        point = StreamingModel(streaming).info.operating_points
    rows = fact_table(info.labels, info.training)
    title += f"\n{info.threshold_note}"
    if scores:
        rows += [["scored on", scores["data"]], ["its fingerprint", scores["data_fingerprint"]]]
    write_report(path, title, rows, [*plots_of(run_folder), *pictures], scores, clips, point)
    if run_folder:
        recording.log_to_run(run_folder, [path], "evaluation")


def write_streams(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what `evaluate_streams` found, as of `write_evaluation`."""
    model = Path(facts["model"]).absolute()
    info, folder = StreamingModel(model).info, model.parent
    pictures = [Path(facts["pictures"], PICTURE)] if "pictures" in facts else []
    words = facts["input"] or f"{info.training.get('data', 'data')}, {facts['split']} split"
    title = f"{folder.name}/{model.name}\nwords of {words}, in streams"
    if not facts["input"]:
        title += f"\n{info.training.get('data_description', '')}"
    write_evaluation(path, title, info, folder, pictures, point=facts)


def write_training(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write a page into the folder of a run that has just been trained: its curves, its augmentations, and facts."""
    path = folder / PLOTS / f"report{SUFFIX}"
    title = f"{recording.run_name(folder)}\n{facts['data_description']}\n{NOT_SCORED}"
    return write_report(path, title, fact_table(facts["labels"], facts), plots_of(folder))


def fact_table(labels: Sequence[str], training: Mapping[str, Any]) -> list[list[str]]:
    return [
        ["labels", ", ".join(labels)],
        *fact_rows(SIZES, training),
        *origin_rows(training),
    ]


def plots_of(run_folder: Path | None) -> list[Path]:
    return sorted((run_folder / PLOTS).glob("*.png")) if run_folder else []
