"""A split of a data set in the classes of an existing model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_commands_kws.data.datamodule import Clips, KeywordDataModule
from speech_commands_kws.data.task import Task
from speech_commands_kws.errors import KwsError
from speech_commands_kws.labels import SILENCE, UNKNOWN


def labelled_split(
    source: Any,
    split: str,
    labels: Sequence[str],
    sample_rate: int,
    clip_samples: int,
    silence_volume: float,
    cache: str | Path,
    seed: int,
) -> Clips:
    """The clips of a split with their classes.

    Args:
        source: has `prepare() -> SpeechTree`.
        labels, sample_rate, clip_samples: of the model.
        silence_volume, cache, seed: as in `KeywordDataModule`; those of the training draw the clips
            of its validation again.

    Raises:
        KwsError: the data cannot give these classes, or there is no such split.
    """
    words = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    datamodule = KeywordDataModule(
        source=source,
        task=Task(words, unknown=UNKNOWN in labels, silence=SILENCE in labels),
        sample_rate=sample_rate,
        clip_seconds=clip_samples / sample_rate,
        batch_size=1,  # of the loaders, which are not used here
        evaluation_batch_size=1,
        silence_volume=silence_volume,
        cache=cache,
        seed=seed,
    )
    datamodule.prepare_data()
    datamodule.setup("test")
    if tuple(datamodule.labels) != tuple(labels):
        raise KwsError(
            f"expected data with the model's labels ({', '.join(labels)}), "
            f"got {', '.join(datamodule.labels)}: choose other data or another model"
        )
    return datamodule.evaluation_set(split)
