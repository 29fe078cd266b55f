"""Listen for keywords: `kws listen` (microphone), `kws listen talk.wav speed=0`, `arecord -t wav | kws listen -`."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.audio.chunks import file_chunks, pipe_chunks
from speech_commands_kws.audio.locate import STANDARD_INPUT
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import say
from speech_commands_kws.errors import KwsError, check_choice
from speech_commands_kws.inference.backends.triton_async import STREAM_NAME
from speech_commands_kws.inference.detector import Event
from speech_commands_kws.inference.events.clips import EventClips
from speech_commands_kws.inference.events.command import EventCommand
from speech_commands_kws.inference.events.view import EventView
from speech_commands_kws.inference.events.writer import EventWriter
from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.locate import STREAMING_FILE
from speech_commands_kws.inference.streaming import StreamingModel

AUTO, TEXT, JSON, VIEW = "auto", "text", "json", "view"


def run(cfg: DictConfig) -> float:
    """Report the keywords until the sound ends; return how many."""
    check_choice((AUTO, TEXT, JSON, VIEW), format=cfg.format)
    gate = build(cfg.gate) if cfg.get("gate") else None
    listener = KeywordListener(model_of(cfg), None, plain(cfg.thresholds), cfg.call_ms, gate)
    rate = listener.model.info.sample_rate
    begin, samples, count = time.monotonic(), 0, 0
    with ExitStack() as stack:
        sound = stack.enter_context(closing(sound_of(cfg, rate)))
        stack.callback(
            lambda: tell(samples / rate, time.monotonic() - begin, count, lost_seconds(sound))
        )
        sinks = [stack.enter_context(closing(sink)) for sink in sinks_of(cfg, listener, sound)]
        for chunk, events in heard(listener, sound):
            samples, count = samples + len(chunk), count + len(events)
            for sink in sinks:
                sink.hear(chunk, events)
    return float(count)


def heard(
    listener: KeywordListener, sound: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, list[Event]]]:
    for chunk in sound:
        yield chunk, listener(chunk)
    yield np.zeros(0, np.float32), listener.finish()


def plain(value: Any) -> Any:
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def model_of(cfg: DictConfig) -> StreamingModel:
    if cfg.url is not None:
        return StreamingModel(cfg.model or STREAM_NAME, build(cfg.server))
    return StreamingModel(find_model(cfg, STREAMING_FILE, released=True))


def sound_of(cfg: DictConfig, sample_rate: int) -> Any:
    """Chunks of sound, float32 (T,) at this rate; it has `close`."""
    if cfg.input is None:
        return build(cfg.microphone)(sample_rate)
    path = Path(str(cfg.input)).expanduser()
    if str(cfg.input) == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise KwsError(
                "- is sound on standard input: pipe it in, as in `arecord -t wav | kws listen -`"
            )
        return pipe_chunks(sys.stdin.buffer, sample_rate, cfg.rate, cfg.channels)
    if path.is_fifo():
        return pipe_chunks(path.open("rb"), sample_rate, cfg.rate, cfg.channels)
    return file_chunks(path, sample_rate, cfg.speed, cfg.call_ms)


def sinks_of(cfg: DictConfig, listener: KeywordListener, sound: object) -> Iterator[Any]:
    """What hears the sound and its events."""
    form = cfg.format
    if form == AUTO:
        is_live = cfg.input is None or cfg.speed > 0
        form = VIEW if is_live and sys.stdout.isatty() else TEXT
    if cfg.on_event is not None:
        yield EventCommand(plain(cfg.on_event), cfg.on_event_at_once)
    if form == VIEW:
        yield EventView(sys.stdout, listener, lambda: lost_seconds(sound))
    else:
        yield EventWriter(sys.stdout, form == JSON)
    if cfg.save is not None:
        folder = Path(str(cfg.save)).expanduser()
        yield EventClips(folder, listener, str(cfg.save_name), cfg.near_miss)


def lost_seconds(sound: object) -> float:
    """A file and a pipe wait for whoever reads them."""
    return getattr(sound, "lost_seconds", 0.0)


def tell(seconds: float, taken: float, count: int, lost: float) -> None:
    if seconds:
        line = f"{seconds:.1f} s heard in {taken:.1f} s (real-time factor {taken / seconds:.3g}), {count} events"
        say(f"{line}, {lost:.1f} s lost" if lost else line)


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="listen", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
