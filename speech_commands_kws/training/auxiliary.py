"""An auxiliary task: a second classifier learns other words, said by people, and is left out of the model.

The layers before it are shared, so that a network whose keywords were only ever spoken by synthetic voices learns how
people speak (multitask learning, Caruana 1997, doi 10.1023/A:1007379606734). Where the synthetic voices say such words
too, both are one class of the second classifier, which then must not hear who speaks. That these clips are no keywords
is not taught: "people say no keywords" would be the easiest way to tell them from the synthetic ones.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from speech_commands_kws.data.fetch.fetch import fetch_folder
from speech_commands_kws.data.packed import pack_folder
from speech_commands_kws.data.sources.folder import folder_of
from speech_commands_kws.data.speech_tree import (
    TRAIN,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.data.training_batches import as_waveforms
from speech_commands_kws.errors import KwsError, check_positive
from speech_commands_kws.labels import UNKNOWN

FEWEST_WORDS = 2

LOG = logging.getLogger(__name__)


class AuxiliaryWords:
    """Clips of other words, of which some are laid beside those of each batch.

    Args:
        root: folder of `<word>/<clip>`. Speakers whom its split lists, or the rule of Speech Commands, hold out are
            not heard.
        words: which of its words are learnt, without those that are classes; None: all.
        labels: the classes of the model.
        share: clips beside each clip of a batch.
        weight: of their loss, the mean cross-entropy, beside that of the classes.
        sample_rate: Hz.
        clip_seconds: length of a clip.
        cache: folder of packed trees.
        download: brings the folder where it is missing; None where nobody publishes it.

    Attributes:
        words: those of the second classifier.
        numbers: of these words, counted on from the classes.
        features: of a teacher, in the order of `rows`.
        fingerprint: SHA-256 of the folder's clips.

    Raises:
        SettingError: a value out of its range.
        KwsError: there is no such folder, or fewer than two of the words are in it.
    """

    def __init__(
        self,
        root: str,
        words: Sequence[str] | None,
        labels: Sequence[str],
        share: float,
        weight: float,
        sample_rate: int,
        clip_seconds: float,
        cache: str | Path,
        download: Callable[[Path], None] | None = None,
    ):
        check_positive(share=share, weight=weight, clip_seconds=clip_seconds)
        self.share = share
        self.weight = weight
        tree = SpeechTree(fetch_words(root, download))
        clip_samples = round(sample_rate * clip_seconds)
        self.packed = pack_folder(tree.root, tree.pattern, Path(cache), sample_rate, clip_samples)
        said, speakers = words_and_speakers(self.packed.paths, tree.pattern)
        splits = assign_splits(tree, self.packed.paths, said, speakers)
        wanted = set(said if words is None else words) - set(labels)
        self.rows = np.array(
            [
                row
                for row, (word, split) in enumerate(zip(said, splits, strict=True))
                if split == TRAIN and word in wanted
            ],
            dtype=np.int64,
        )
        self.words = sorted({said[row] for row in self.rows})
        if len(self.words) < FEWEST_WORDS:
            raise KwsError(
                f"expected recordings of at least {FEWEST_WORDS} other words at auxiliary.root={tree.root}, found "
                f"{', '.join(self.words) or 'none'}: name a folder of <word>/<clip>, or leave auxiliary= out"
            )
        self.n_classes = len(labels)
        self.unknown = labels.index(UNKNOWN) if UNKNOWN in labels else None
        self.numbers = {word: self.n_classes + i for i, word in enumerate(self.words)}
        self.targets = torch.tensor([self.numbers[said[row]] for row in self.rows])
        self.features: Tensor | None = None
        self.fingerprint = self.packed.fingerprint
        LOG.info("auxiliary task: %d clips of %d other words", len(self.rows), len(self.words))

    def draw(self, n_clips: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Clips to lay beside `n_clips` of the data.

        Returns:
            (A, T) waveforms, the (A,) numbers of their words, and their (A, D) features where a teacher made some.
        """
        count = max(1, round(self.share * n_clips))
        device = generator.device
        chosen = torch.randint(len(self.rows), (count,), generator=generator, device=device).cpu()
        clips = torch.from_numpy(self.packed.clips[self.rows[chosen.numpy()]])
        features = None if self.features is None else self.features[chosen].to(device)
        return as_waveforms(clips.to(device)), self.targets[chosen].to(device), features

    def __deepcopy__(self, memo: dict) -> "AuxiliaryWords":
        """Itself, which never changes: an average of the weights (callbacks=ema) copies the module."""
        return self

    def classes_of(self, targets: Tensor) -> Tensor:
        """The classes of clips of the data, of which those that say another word come with its number: `_unknown_`."""
        if self.unknown is None:
            return targets
        return targets.where(targets < self.n_classes, self.unknown)


def fetch_words(root: str, download: Callable[[Path], None] | None) -> Path:
    """The folder of other words, which is fetched where it is missing.

    Raises:
        KwsError: there is none.
    """
    folder = folder_of(root)
    fetch_folder(folder, download)
    if not folder.is_dir():
        raise KwsError(
            f"expected a folder of recordings at auxiliary.root={folder}, found none: name one of <word>/<clip>, or "
            "take auxiliary=speech_commands, which is fetched"
        )
    return folder
