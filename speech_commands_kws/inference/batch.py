"""Predictions for many recordings, whose windows share batches."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.audio.locate import STANDARD_INPUT, recordings
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.inference.spotter import KeywordSpotter, Prediction, batched


class BatchInference:
    """Runs a spotter over recordings; what cannot be used is reported on standard error and passed over.

    Attributes:
        scored: windows scored so far.
        failures: names and recordings reported so far.
    """

    def __init__(self, spotter: KeywordSpotter) -> None:
        self.spotter = spotter
        self.scored = 0
        self.failures = 0

    def predictions(self, names: Iterable[str]) -> Iterator[tuple[str, Prediction]]:
        """Predictions with the names of their recordings, in order.

        Args:
            names: files, folders, patterns, or - for standard input.
        """
        for batch in batched(self._windows(names), self.spotter.batch_size):
            predictions = self.spotter.predict([window for _, window in batch])
            self.scored += len(batch)
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
