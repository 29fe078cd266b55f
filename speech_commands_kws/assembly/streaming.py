"""Runs a streaming model over words in streams and over hours of sound without them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.audio.noise_recordings import noise_holdout
from speech_commands_kws.audio.room_acoustics import room_responses
from speech_commands_kws.cli.launch import build
from speech_commands_kws.cli.terminal import progress, say
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.operating_points import (
    ScoredStream,
    Tuning,
    closed_shares,
    scored_stream,
    summary,
)
from speech_commands_kws.evaluation.streaming.saved import save_events, saved
from speech_commands_kws.evaluation.streaming.streams import Stream, clips_below, clips_of
from speech_commands_kws.figures.detection import plot_detection
from speech_commands_kws.inference.gate import Gate
from speech_commands_kws.inference.listener import CALL_MS
from speech_commands_kws.inference.locate import STREAMING_FILE, locate_model, newest_export
from speech_commands_kws.inference.streaming import CALL_FRAMES, StreamingModel
from speech_commands_kws.labels import is_keyword, keywords_of
from speech_commands_kws.tracking import runs


def find_streaming(cfg: DictConfig) -> Path:
    """The streaming model asked for, that of the run asked for, or the newest one.

    Raises:
        KwsError: there is none.
    """
    run = cfg.get("run", runs.LATEST)
    if cfg.model is not None:
        return locate_model(cfg.model, cfg.paths.runs)
    if run == runs.LATEST:
        path = newest_export(cfg.paths.runs, STREAMING_FILE)
        say(f"model: {path}")
        return path
    path = runs.find_run(run, cfg.paths.runs) / STREAMING_FILE
    if not path.is_file():
        raise KwsError(
            f"expected {path}, found none: `kws export run={run}` writes it for a streaming backbone"
        )
    return path


def open_streaming(cfg: DictConfig) -> tuple[StreamingModel, Path]:
    """The streaming model as of `find_streaming`, and the folder of its run.

    Raises:
        KwsError: it lies in no run, whose data say what to try it on.
    """
    path = find_streaming(cfg)
    folder = path.absolute().parent
    if not (folder / runs.CONFIG_FILE).is_file():
        raise KwsError(
            f"expected a model in the folder of its run, {folder} has no {runs.CONFIG_FILE}"
        )
    return StreamingModel(path), folder


def tuning_of(cfg: DictConfig, model: StreamingModel) -> Tuning:
    """How thresholds are tried, as the settings say."""
    settings = OmegaConf.to_container(cfg.detector)
    settings.pop("threshold")
    return Tuning(
        labels=model.info.labels,
        frame_ms=model.frame_ms,
        settings=settings,
        grid=list(cfg.protocol.grid),
        late_seconds=cfg.protocol.late_seconds,
        masked_seconds=cfg.protocol.masked_seconds,
    )


def evaluate_streams(cfg: DictConfig) -> dict[str, Any]:
    """What a model misses in the protocol's streams, and how often it is wrong, at the thresholds in its file."""
    model, folder = open_streaming(cfg)
    detector = dict(model.info.detector)
    thresholds = detector.pop("thresholds")
    tuning = replace(tuning_of(cfg, model), settings=detector)
    floor = min(min(thresholds.values()) - detector["hysteresis"], tuning.floor)
    gate = build(cfg.gate) if cfg.get("gate") else None
    streams = streams_of(cfg, model, folder)
    if cfg.save:
        streams = saved(streams, Path(cfg.save).expanduser(), model.info.sample_rate)
    scored = list(progress(score_streams(model, streams, floor, gate), doing="listening"))
    if cfg.save:
        save_events(scored, tuning.detector(thresholds), Path(cfg.save).expanduser())
    facts = {"model": str(model.model), "split": cfg.split, "input": cfg.input}
    if gate:
        facts["gate"] = OmegaConf.to_container(cfg.gate) | {"closed": closed_shares(scored)}
    point = tuning.point(scored, thresholds)
    curve = [summary(each) for each in tuning.curve(scored, list(thresholds))]
    if point["false_alarms"]["hours"]:
        pictures = Path(cfg.folder or folder / f"listening_{cfg.split}").expanduser()
        title = f"{cfg.input or f'{cfg.split} split'}: {', '.join(thresholds)}\n{folder.name}/{Path(model.model).name}"
        plot_detection(curve, point, title, pictures / "detection.png")
        facts["pictures"] = str(pictures)
    return facts | point | {"curve": curve}


def streams_of(cfg: DictConfig, model: StreamingModel, folder: Path) -> Iterator[Stream]:
    """Words of a split of the run's data, or of `input`, in streams, and sound without words."""
    # Here and not above: to score clips by an exported model needs no torch.
    from speech_commands_kws.assembly.run_data import recorded_split

    protocol, words = cfg.protocol, keywords_of(model.info.labels)
    split = recorded_split(runs.read_config(folder), model.info, cfg.split)
    if cfg.get("input"):
        keywords, others = clips_below(Path(cfg.input).expanduser(), words)
    else:
        keywords, others = clips_of(split, model.info.labels)
        if not keywords:
            raise KwsError(
                f"expected clips of {', '.join(words)} in the {cfg.split} split, found none: give another "
                "split, or more speakers to it"
            )
    responses = room_responses(**OmegaConf.to_container(protocol.rooms, resolve=True))
    held_out, clip = model.info.training.get("noise_held_out", 0.0), model.info.clip_samples
    noises = list(split.noises.values())
    if held_out:  # what training has not heard
        noises = [noise_holdout(noise, held_out, clip) for noise in noises]
    if not noises:
        raise KwsError(
            "expected background noise in the data of the run, found none: put recordings of it into their folder "
            "_background_noise_"
        )
    spoken = build(protocol.words).streams(keywords, others, noises, responses)
    # First what is missing where no corpora were fetched.
    return chain(build(protocol.ambient).streams(words), spoken)


def score_streams(
    model: StreamingModel, streams: Iterable[Stream], floor: float, gate: Gate | None = None
) -> Iterator[ScoredStream]:
    """What the model answers for each stream, as far as a detector may look at it.

    Args:
        floor: as of `scored_stream`.
        gate: asked as often as `KeywordListener` asks it.
    """
    keywords = np.array(list(map(is_keyword, model.info.labels)))
    call_frames = round(CALL_MS / model.frame_ms) if gate else CALL_FRAMES
    for stream in streams:
        rows = model.rows(stream.waveform, repeat(call_frames), gate)
        yield scored_stream(stream, rows, keywords, floor)
