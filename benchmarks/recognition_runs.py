"""A finished run and its figures, for `recognition.py`: exported, evaluated and timed once, and kept in its folder."""

import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from speech_commands_kws.audio.noise_recordings import find_recordings, read_recordings
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.evaluation.streaming.transcripts import spellings_of, without_keywords
from speech_commands_kws.files.atomic import write_json_file
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.locate import STREAMING_FILE, streaming_file
from speech_commands_kws.inference.streaming import StreamingModel
from speech_commands_kws.labels import is_keyword, keywords_of
from speech_commands_kws.packaging.latency import median_latency_ms
from speech_commands_kws.tracking import runs

FOLDER = "recognition"  # in that of a run
EXPORTED = "exported.onnx"  # not model.onnx, of which `kws infer` takes the newest
PRECISIONS = ("fp32", "fp16", "int8")
MEASURED_ANYWAY = [
    f"quantize.gate.{limit}" for limit in ("accuracy_loss=1", "agreement=0", "probe_agreement=0")
]
ROUNDS = 5
CALL_MS = 100
BATCH_SIZE = 256
EPOCH = re.compile(r"(\S+ \S+),\d+ INFO \S+ epoch \d+/")
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Run:
    """A finished run and its figures, each measured when it is asked for, unless it lies there."""

    folder: Path
    options: dict[str, str]
    settings: Sequence[str]

    @cached_property
    def config(self) -> dict[str, Any]:
        return OmegaConf.to_container(runs.read_config(self.folder))

    @property
    def checkpoint(self) -> Path:
        return runs.checkpoint_of(self.folder, runs.BEST)

    @cached_property
    def model(self) -> Path:
        """The fp32 file, the others beside it."""
        model = self.folder / FOLDER / EXPORTED
        for precision in PRECISIONS[1:]:
            if not newer(variant_of(model, precision), self.checkpoint):
                model.parent.mkdir(exist_ok=True)
                settings = [f"quantize={precision}", *MEASURED_ANYWAY, f"output={model}"]
                self.command("export", f"run={self.folder}", *settings)
        return model

    def evaluation(self, split: str, *settings: str) -> dict[str, Any]:
        """The figures of `kws evaluate`."""
        name = "_".join(["evaluation", split, *settings]).replace("=", "_")
        kept = self.model.with_name(f"{name}.json")
        if not newer(kept, self.checkpoint, self.model):
            pictures = self.model.parent / f"pictures_{split}"
            words = [f"model={self.model}", f"split={split}", *settings, f"folder={pictures}"]
            self.command("evaluate", *words, f"json_file={kept}")
        return json.loads(kept.read_text(encoding="utf-8"))

    @property
    def scores(self) -> dict[str, Any]:
        return self.evaluation("validation", f"robustness.clips={self.options['clips']}")

    @property
    def test_scores(self) -> dict[str, Any]:
        return self.evaluation("test", "robustness=none")

    @property
    def forms(self) -> dict[str, dict[str, Any]]:
        """What each exported file says, weighs and takes."""
        return self.kept("forms.json", partial(measured_forms, self.model))

    @property
    def listener(self) -> dict[str, Any]:
        """What `kws tune` measured of the run's own file for streams; nothing where it did not."""
        path = self.folder / STREAMING_FILE
        return StreamingModel(path).info.operating_points if path.is_file() else {}

    @property
    def speech(self) -> dict[str, dict[str, int]]:
        folder = Path(self.options["speech"]).absolute()
        if not self.options["speech"]:
            return {}
        return self.kept(f"speech_{folder.name}.json", partial(fired_in, self.model, folder))

    def kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.model.with_name(name)
        if not newer(path, self.checkpoint, self.model):
            say(f"{self.folder.name}: {path.stem}")
            write_json_file(path, measure())
        return json.loads(path.read_text(encoding="utf-8"))

    def command(self, name: str, *settings: str) -> None:
        say(f"{self.folder.name}: kws {name} {' '.join(settings)}")
        program = [sys.executable, "-m", f"speech_commands_kws.{name}", *settings, *self.settings]
        subprocess.run(program, stdout=sys.stderr, check=True)

    @property
    def facts(self) -> dict[str, Any]:
        """All of it."""
        measured = {"validation": self.scores, "forms": self.forms, "speech": self.speech}
        tested = {"test": self.test_scores} if self.options["split"] == "test" else {}
        return measured | tested

    @property
    def hours(self) -> float | None:
        """Of training, without pauses between its parts; None where the log does not tell."""
        log = self.folder / runs.LOG_FILE
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        found = [datetime.fromisoformat(match[1]) for match in map(EPOCH.match, lines) if match]
        gaps = [(after - before).total_seconds() for before, after in pairwise(found)]
        epochs = self.config["trainer"]["max_epochs"]
        return statistics.median(gaps) * epochs / SECONDS_PER_HOUR if gaps else None


def newer(path: Path, *sources: Path) -> bool:
    changed = [source.stat().st_mtime for source in sources]
    return path.is_file() and path.stat().st_mtime >= max(changed)


def variant_of(model: Path, precision: str) -> Path:
    return model if precision == "fp32" else model.with_suffix(f".{precision}.onnx")


def say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def measured_forms(model: Path) -> dict[str, dict[str, Any]]:
    paths = {precision: variant_of(model, precision) for precision in PRECISIONS}
    backends = {name: OnnxBackend(path) for name, path in paths.items()}
    info = backends["fp32"].info
    generator = np.random.default_rng(0)
    clip = generator.standard_normal((1, info.clip_samples), np.float32) / 10
    calls: dict[str, tuple[Callable, np.ndarray]] = {
        name: (backend, clip) for name, backend in backends.items()
    }
    if streaming_file(model).is_file():
        paths["streaming"] = streaming_file(model)
        stream = StreamingModel(paths["streaming"])
        samples = stream.frames_in(CALL_MS) * stream.hop_samples
        step = partial(stream_step, stream, stream.initial_state())
        calls["streaming"] = step, clip[:, :samples]
    with initialize_config_dir(CONFIG_DIR):
        timing = OmegaConf.to_container(compose("export").latency)
    took = defaultdict(list)
    for _, (name, (call, sound)) in product(range(ROUNDS), calls.items()):
        took[name].append(median_latency_ms(call, sound, **timing))
    facts = {name: {"latency_ms": statistics.median(took[name])} for name in calls}
    for name, path in paths.items():
        facts[name]["bytes"] = path.stat().st_size
    for name, backend in backends.items():
        facts[name] |= {"training": backend.info.training, "detection": backend.info.detection}
    return facts


def stream_step(stream: StreamingModel, state: np.ndarray, sound: np.ndarray) -> None:
    stream(sound, state)


def fired_in(model: Path, folder: Path) -> dict[str, dict[str, int]]:
    """How many pieces there are of each kind of sound, and how many of them fire."""
    backend = OnnxBackend(model)
    labels, threshold = backend.info.labels, backend.info.detection["threshold"]
    columns = [k for k, label in enumerate(labels) if is_keyword(label)]
    with initialize_config_dir(CONFIG_DIR):
        homophones = compose("mine").homophones
    spellings = spellings_of(keywords_of(labels), homophones)
    found = {}
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = without_keywords(find_recordings([kind]), spellings)
        highest = [
            backend(batch)[0][:, columns].max(axis=1)
            for batch in pieces_of(paths, backend.info.sample_rate, backend.info.clip_samples)
        ]
        fired = np.concatenate(highest) > threshold
        found[kind.name] = {"pieces": len(fired), "fired": int(fired.sum())}
    return found


def pieces_of(
    paths: dict[Path, list[Path]], sample_rate: int, samples: int
) -> Iterator[np.ndarray]:
    """(n, samples) consecutive pieces of each recording, without the rest at its end."""
    for _, recording in read_recordings(paths, sample_rate, None):
        pieces = recording[: len(recording) // samples * samples].reshape(-1, samples)
        yield from (part for part in np.split(pieces, range(BATCH_SIZE, len(pieces), BATCH_SIZE)))
