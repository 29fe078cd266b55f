"""Runs a streaming model over words in streams and over hours of sound without them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.audio.noise_recordings import noise_holdout
from speech_commands_kws.audio.room_acoustics import room_responses
from speech_commands_kws.cli.launch import build
from speech_commands_kws.cli.terminal import progress, say
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.data.speech_tree import assign_splits, words_and_speakers
from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.streaming.operating_points import (
    ScoredStream,
    Tuning,
    closed_shares,
    scored_stream,
    summary,
)
from speech_commands_kws.evaluation.streaming.saved import save_events, saved
from speech_commands_kws.evaluation.streaming.streams import (
    AmbientStreams,
    Clip,
    Stream,
    clips_below,
    clips_of,
)
from speech_commands_kws.figures.detection import plot_detection
from speech_commands_kws.inference.detector import Detector
from speech_commands_kws.inference.gate import Gate
from speech_commands_kws.inference.listener import CALL_MS
from speech_commands_kws.inference.locate import STREAMING_FILE
from speech_commands_kws.inference.streaming import CALL_FRAMES, StreamingModel
from speech_commands_kws.labels import SILENCE, is_keyword, keywords_of
from speech_commands_kws.tracking import runs

PICTURE = "detection.png"


def find_streaming(cfg: DictConfig) -> Path:
    """The streaming model asked for, that of the run asked for, or the newest one.

    Raises:
        KwsError: there is none.
    """
    run = cfg.get("run", runs.LATEST)
    if cfg.model is not None or run == runs.LATEST:
        return find_model(cfg, STREAMING_FILE)
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
    settings = dict(model.info.detector)
    thresholds = settings.pop("thresholds")
    tuning = replace(tuning_of(cfg, model), settings=settings)
    floor = min(min(thresholds.values()) - settings["hysteresis"], tuning.floor)
    gate = build(cfg.gate) if cfg.get("gate") else None
    detector = tuning.detector(thresholds)
    scored = scored_and_saved(cfg, model, streams_of(cfg, model, folder), detector, floor, gate)
    facts = {"model": str(model.model), "split": cfg.split, "input": cfg.input}
    facts["model_sha256"] = sha256(Path(model.model).read_bytes()).hexdigest()
    if gate:
        facts["gate"] = OmegaConf.to_container(cfg.gate) | {"closed": closed_shares(scored)}
    facts |= tuning.point(scored, thresholds)
    facts["curve"] = [summary(each) for each in tuning.curve(scored, list(thresholds))]
    if facts["false_alarms"]["hours"]:
        pictures = Path(cfg.folder or folder / f"listening_{cfg.split}").expanduser()
        draw_detection(facts, model, pictures)
        facts["pictures"] = str(pictures)
    return facts


def scored_and_saved(
    cfg: DictConfig,
    model: StreamingModel,
    streams: Iterable[Stream],
    detector: Detector,
    floor: float,
    gate: Gate | None,
) -> list[ScoredStream]:
    """As `score_streams`; on request the streams and what a detector hears in them are files."""
    folder = Path(cfg.save).expanduser() if cfg.save else None
    if folder:
        streams = saved(streams, folder, model.info.sample_rate)
    scored = list(progress(score_streams(model, streams, floor, gate), doing="listening"))
    if folder:
        save_events(scored, detector, folder)
    return scored


def draw_detection(facts: Mapping[str, Any], model: StreamingModel, folder: Path) -> Path:
    """The picture of misses and false alarms into a folder; it needs sound without keywords."""
    path = Path(model.model).absolute()
    heard = facts.get("input") or f"{facts['split']} split"
    title = f"{heard}: {', '.join(facts['thresholds'])}\n{path.parent.name}/{path.name}"
    return plot_detection(facts["curve"], facts, title, folder / PICTURE)


def streams_of(cfg: DictConfig, model: StreamingModel, folder: Path) -> Iterator[Stream]:
    """Sound without words, and words of a split of the run's data, or of `input`, in streams."""
    # Here and not above: to score clips by an exported model needs no torch.
    from speech_commands_kws.assembly.run_data import recorded_split

    words, saved_config = keywords_of(model.info.labels), runs.read_config(folder)
    split = recorded_split(saved_config, model.info, cfg.split)
    if cfg.get("input"):
        keywords, others = clips_below(Path(cfg.input).expanduser(), words)
    else:
        keywords, others = clips_of(split, model.info.labels)
    if not keywords:
        raise KwsError(
            f"expected clips of {', '.join(words)} in the {cfg.split} split, found none: give another "
            "split, or more speakers to it"
        )
    # Where the clips lie in a folder of their own, there are no more.
    has_more = not cfg.get("input") and split.packed is split.tree
    all_others = other_clips(saved_config, split, words, cfg.split) if has_more else others
    if not all_others:
        say("no clips of other words: they are not among the sound without keywords")
    spoken = build(cfg.protocol.words)
    # First what is missing where no corpora were fetched.
    return chain(
        ambient_of(cfg, words).streams(words, spoken.others(all_others)),
        spoken.streams(keywords, others, *surroundings(cfg, model, split)),
    )


def ambient_of(cfg: DictConfig, keywords: Sequence[str]) -> AmbientStreams:
    """Sound without keywords; those of the model are not in the talk either."""
    ambient = build(cfg.protocol.ambient)
    if ambient.talk is None:
        return ambient
    barred = list(dict.fromkeys([*ambient.talk.words, *keywords]))
    return replace(ambient, talk=replace(ambient.talk, words=barred))


def surroundings(
    cfg: DictConfig, model: StreamingModel, split: SplitClips
) -> tuple[list[np.ndarray], np.ndarray]:
    """Noise that the training has not heard, and the impulse responses of rooms."""
    responses = room_responses(**OmegaConf.to_container(cfg.protocol.rooms, resolve=True))
    held_out, clip = model.info.training.get("noise_held_out", 0.0), model.info.clip_samples
    noises = list(split.noises.values())
    if held_out:
        noises = [noise_holdout(noise, held_out, clip) for noise in noises]
    if not noises:
        raise KwsError(
            "expected background noise in the data of the run, found none: put recordings of it into their folder "
            "_background_noise_"
        )
    return noises, responses


def other_clips(
    saved_config: DictConfig, clips: SplitClips, keywords: Sequence[str], split: str
) -> list[Clip]:
    """All clips of other words in a split of a run's data; `clips` has as many as there are of a keyword.

    Without near misses: one after another they are no sound whose false alarms an hour tell anything.
    """
    tree, packed = build(saved_config.data.source).prepare(), clips.packed
    words, speakers = words_and_speakers(packed.paths, tree.pattern)
    splits = assign_splits(tree, packed.paths, words, speakers)
    barred = {*keywords, *tree.near_misses, SILENCE}
    return [
        Clip(word, packed.paths[i], lambda _, i=i: packed.waveforms(np.array([i]))[0])
        for i, word in enumerate(words)
        if splits[i] == split and word not in barred
    ]


def score_streams(
    model: StreamingModel, streams: Iterable[Stream], floor: float, gate: Gate | None = None
) -> Iterator[ScoredStream]:
    """What the model answers for each stream, as far as a detector may look at it.

    Args:
        floor: as of `scored_stream`.
        gate: asked as often as `KeywordListener` asks it.
    """
    keywords = np.array(list(map(is_keyword, model.info.labels)))
    frames = model.frames_in(CALL_MS) if gate else CALL_FRAMES
    for stream in streams:
        rows = model.rows(stream.waveform, repeat(frames), gate)
        yield scored_stream(stream, rows, keywords, floor)
