"""Name the words in recordings: `kws infer clip.wav folder "clips/*.flac" -`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.audio.locate import STANDARD_INPUT, recordings
from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, build, run_answering
from speech_commands_kws.errors import KwsError, ReportedError, check_choice, display_name
from speech_commands_kws.inference.backends.triton import MODEL_NAME
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.predictions import write_csv, write_json, write_table
from speech_commands_kws.inference.spotter import KeywordSpotter, Prediction, batched

WRITERS = {"table": write_table, "json": write_json, "csv": write_csv}


class Listening:
    """Answers for many recordings; what cannot be used is reported on standard error and passed
    over.

    Attributes:
        answered: windows answered so far.
        failures: names and recordings reported so far.
    """

    def __init__(self, spotter: KeywordSpotter) -> None:
        self.spotter = spotter
        self.answered = 0
        self.failures = 0

    def answers(self, names: Iterable[str]) -> Iterator[tuple[str, Prediction]]:
        """Answers with the names of their recordings, in order; recordings share batches."""
        for batch in batched(self._windows(names), self.spotter.batch_size):
            predictions = self.spotter.predict([window for _, window in batch])
            self.answered += len(batch)
            yield from zip([name for name, _ in batch], predictions)

    def _windows(self, names: Iterable[str]) -> Iterator[tuple[str, tuple[float, np.ndarray]]]:
        for name in names:
            for source in self._passing_over(recordings(name)):
                source_name = str(source) if isinstance(source, Path) else STANDARD_INPUT
                for window in self._passing_over(self.spotter.windows(source)):
                    yield source_name, window

    def _passing_over(self, items: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from items
        except KwsError as error:
            self.failures += 1
            print(f"error: {display_name(error)}", file=sys.stderr)


def run(cfg: DictConfig) -> float:
    """Write the answers to standard output; return how many windows were answered.

    Raises:
        ReportedError: some recordings could not be used; each was named on standard error, the
            others are answered.
    """
    names = input_names(cfg.input)
    check_choice(WRITERS, format=cfg.format)
    if cfg.url is not None and "url" not in cfg.backend:
        raise KwsError(
            f"url={cfg.url} is the address of a server: add backend=triton or backend=triton_grpc"
        )
    model = model_of(cfg)
    if cfg.model is None:
        print(f"model: {display_name(model)}", file=sys.stderr)
    listening = Listening(
        KeywordSpotter(
            model,
            backend=build(cfg.backend),
            hop_seconds=cfg.hop_seconds,
            top_k=cfg.top_k,
            batch_size=cfg.batch_size,
        )
    )
    WRITERS[cfg.format](listening.answers(names), sys.stdout)
    if listening.failures:
        raise ReportedError(f"{listening.failures} names or recordings could not be used")
    return float(listening.answered)


def model_of(cfg: DictConfig) -> Path | str:
    """The file of the model asked for, or its name where a server has it."""
    if "url" in cfg.backend:
        return cfg.model or MODEL_NAME
    return locate_model(cfg.model, cfg.paths.runs, build(cfg.registry))


def input_names(names: object) -> list[str]:
    """The value of `input` in the configuration, one name or a list, as a list."""
    names = OmegaConf.to_object(names) if OmegaConf.is_config(names) else names
    names = names if isinstance(names, list) else [names]
    if names in ([], [None]):
        raise KwsError(
            "nothing to listen to: name files, folders, patterns or -, as in `kws infer clip.wav`"
        )
    return [str(name) for name in names]


@hydra.main(config_path=CONFIG_DIR, config_name="infer", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> None:
    run_answering(run, cfg)


if __name__ == "__main__":
    main()
