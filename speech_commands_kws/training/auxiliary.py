"""An auxiliary task: a second classifier learns other words, said by people, and is left out of the model.

The layers before it are shared, so that a network whose keywords were only ever spoken by synthetic voices learns how people
speak (multitask learning, Caruana 1997, doi 10.1023/A:1007379606734). That these clips are no keywords is not trained:
"people say no keywords" would be the easiest way to tell them from the synthetic ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.data.packed import pack_folder
from speech_commands_kws.data.speech_tree import (
    TRAIN,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.errors import KwsError, check_positive

FEWEST_WORDS = 2


class AuxiliaryWords:
    """Clips of other words beside those of a batch, and how wrong the answers of their classifier are.

    Args:
        root: folder of `<word>/<clip>`. Words that are keywords are left out, and so are speakers whom its split lists, or
            the rule of Speech Commands, hold out.
        labels: the classes of the model.
        share: clips beside each clip of a batch.
        weight: of their loss, the mean cross-entropy, beside that of the classes.
        sample_rate: Hz.
        clip_seconds: length of a clip.
        cache: folder of packed trees.

    Attributes:
        words: those of the second classifier.
        fingerprint: SHA-256 of the folder's clips.

    Raises:
        SettingError: a value out of its range.
        KwsError: there are fewer than two other words.
    """

    def __init__(
        self,
        root: str,
        labels: Sequence[str],
        share: float,
        weight: float,
        sample_rate: int,
        clip_seconds: float,
        cache: str | Path,
    ):
        check_positive(share=share, weight=weight, clip_seconds=clip_seconds)
        self.share = share
        self.weight = weight
        tree = SpeechTree(Path(root).expanduser())
        clip_samples = round(sample_rate * clip_seconds)
        packed = pack_folder(tree.root, tree.pattern, Path(cache), sample_rate, clip_samples)
        words, speakers = words_and_speakers(packed.paths, tree.pattern)
        splits = assign_splits(tree, packed.paths, words, speakers)
        heard = [
            (row, word)
            for row, (word, split) in enumerate(zip(words, splits, strict=True))
            if split == TRAIN and word not in labels
        ]
        self.words = sorted({word for _, word in heard})
        if len(self.words) < FEWEST_WORDS:
            raise KwsError(
                f"expected recordings of at least {FEWEST_WORDS} other words at auxiliary.root={tree.root}, found "
                f"{', '.join(self.words) or 'none'}: name a folder of <word>/<clip>, such as data/speech_commands_v0.02"
            )
        index_of = {word: i for i, word in enumerate(self.words)}
        self.packed = packed
        self.rows = np.array([row for row, _ in heard])
        self.targets = torch.tensor([index_of[word] for _, word in heard])
        self.fingerprint = packed.fingerprint

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, n_clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Clips to lay beside `n_clips` of the data: (A, T) waveforms and (A,) indices into `words`."""
        count = max(1, round(self.share * n_clips))
        device = generator.device
        chosen = torch.randint(len(self), (count,), generator=generator, device=device).cpu()
        clips = torch.from_numpy(self.packed.clips[self.rows[chosen.numpy()]])
        return clips.to(device).float().div_(INT16_SCALE), self.targets[chosen].to(device)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The weighted loss of (A, number of words) answers."""
        return self.weight * functional.cross_entropy(logits, targets)
