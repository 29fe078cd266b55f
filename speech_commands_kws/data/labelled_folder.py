"""A folder of `<word>/<clip>` that a model is scored on directly; nothing is packed or kept.

Legend: N clips, B batch, T samples.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech_commands_kws.audio.noise_recordings import read_noises
from speech_commands_kws.audio.reading import AudioError, fit_length, read_audio
from speech_commands_kws.data.speech_tree import (
    SPEECH_COMMANDS_PATTERN,
    audio_paths,
    words_and_speakers,
)
from speech_commands_kws.errors import KwsError
from speech_commands_kws.labels import BACKGROUND_NOISE, UNKNOWN


class LabelledFolder:
    """The clips of a folder, each fitted to the length a model takes.

    A word that is none of the labels counts as `_unknown_` where that is one of them.

    Args:
        folder: holds a folder of clips for each word.
        labels: the keywords of the model.
        sample_rate: of the model (Hz); clips of any other are resampled.
        clip_samples: length of a clip of the model (samples).

    Attributes:
        names: (N,) paths below the folder.
        targets: (N,) the index of each clip's label.
        fingerprint: SHA-256 of names and samples.
        left_out: one line for every clip that cannot be used.

    Raises:
        KwsError: the folder is missing or empty, has no word of the labels, or has words that none
            of them stands for.
    """

    def __init__(self, folder: Path, labels: Sequence[str], sample_rate: int, clip_samples: int):
        self.folder, self.sample_rate, self.clip_samples = folder, sample_rate, clip_samples
        self.left_out: list[str] = []
        digest = hashlib.sha256()
        if not folder.is_dir():
            raise KwsError(f"expected a folder of <word>/<clip> at input={folder}, found none")
        paths, _ = audio_paths(folder, SPEECH_COMMANDS_PATTERN)
        words, _ = words_and_speakers(paths, SPEECH_COMMANDS_PATTERN)
        label_of = label_of_word(sorted(set(words)), labels)
        usable = [i for i, path in enumerate(paths) if self._can_read(path, digest)]
        self.fingerprint = digest.hexdigest()
        self.names = [paths[i] for i in usable]
        self.targets = np.array([labels.index(label_of[words[i]]) for i in usable], dtype=np.int64)

    @property
    def noises(self) -> dict[str, np.ndarray]:
        """Recordings of background noise that lie beside the words, float32, by their paths."""
        folder = self.folder / BACKGROUND_NOISE
        return read_noises(folder, self.sample_rate, None) if folder.is_dir() else {}

    def __len__(self) -> int:
        return len(self.names)

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """Waveforms, float32 (B, T), in the order of the names."""
        for start in range(0, len(self), batch_size):
            yield np.stack([self._read(name) for name in self.names[start : start + batch_size]])

    def _read(self, name: str) -> np.ndarray:
        return fit_length(read_audio(self.folder / name, self.sample_rate), self.clip_samples)

    def _can_read(self, name: str, digest: Any) -> bool:
        # Read once more when scored: so what is left out is known first, and memory stays flat.
        try:
            waveform = self._read(name)
        except AudioError as error:
            self.left_out.append(str(error))
            return False
        digest.update(name.encode(errors="surrogateescape"))
        digest.update(waveform.tobytes())
        return True


def label_of_word(words: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The label of the model that each word of a folder counts as.

    Raises:
        KwsError: no word is a label, or some are not and there is no `_unknown_`.
    """
    others = [word for word in words if word not in labels]
    if len(others) == len(words) or (others and UNKNOWN not in labels):
        raise KwsError(
            f"expected clips of the model's words ({', '.join(labels)}), "
            f"got {', '.join(others)}: give other clips or another model"
        )
    return {word: word if word in labels else UNKNOWN for word in words}
