"""The recordings of a keyword that is added to a model, and the other words that it must be told from."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from speech_commands_kws.assembly.run_data import recorded_split
from speech_commands_kws.assembly.streaming import other_clips
from speech_commands_kws.audio.levels import frame_levels
from speech_commands_kws.audio.locate import recordings, sounds_below
from speech_commands_kws.audio.reading import fit_length, read_audio
from speech_commands_kws.data.speech_tree import VALIDATION, SpeechTree
from speech_commands_kws.data.words import spoken_form
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.evaluation.streaming.streams import Clip, clips_of
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.spotter import batched
from speech_commands_kws.labels import keywords_of
from speech_commands_kws.packaging.enrolment import Spoken
from speech_commands_kws.tracking import runs

BATCH_SIZE = 64
LEAST_CLIPS = 3
LOUD_SECONDS = 0.1


def enrolled_paths(folder: str | Path) -> list[Path]:
    """Recordings of the new keyword.

    Raises:
        KwsError: there are too few.
    """
    paths = list(recordings(str(folder)))
    if len(paths) < LEAST_CLIPS:
        raise KwsError(
            f"expected at least {LEAST_CLIPS} recordings of the word in clips={folder}, found {len(paths)}: record "
            "more, as with `kws record`"
        )
    return paths


def enrolled_clips(paths: Sequence[Path], info: ModelInfo, silent_db: float) -> np.ndarray:
    """(n, T) what the model takes of each recording, its loudest stretch where that is longer.

    Raises:
        KwsError: one has no sound above `silent_db` (dBFS), or cannot be read.
    """
    waveforms = [
        fit_length(read_audio(path, info.sample_rate), info.clip_samples) for path in paths
    ]
    for path, waveform in zip(paths, waveforms, strict=True):
        if frame_levels(waveform, round(LOUD_SECONDS * info.sample_rate)).max() < silent_db:
            raise KwsError(
                f"{display_name(path)} has no sound above {silent_db} dBFS: record it again"
            )
    return np.stack(waveforms)


def varied(waveforms: np.ndarray, variants: int, effects: nn.Module, seed: int) -> np.ndarray:
    """(n, 1 + variants, T): each of the waveforms (n, T) as it is, and changed by the effects."""
    repeated = torch.from_numpy(np.repeat(waveforms, variants, axis=0))
    is_silence = torch.zeros(len(repeated), dtype=torch.bool)
    changed = effects(repeated, is_silence, torch.Generator().manual_seed(seed))
    shape = (len(waveforms), variants, waveforms.shape[1])
    return np.concatenate([waveforms[:, None], changed.numpy().reshape(shape)], axis=1)


def clips_below(folder: Path) -> list[Clip]:
    """The clips `<word>/<clip>` of a folder."""
    return [
        Clip(path.parent.name, display_name(path), lambda rate, path=path: read_audio(path, rate))
        for path in sounds_below(folder)
    ]


def spoken_embeddings(
    tree: SpeechTree, word: str, info: ModelInfo, embed: Callable[[np.ndarray], np.ndarray]
) -> Spoken:
    """Of the clips of a synthetic tree, in which the word is spoken."""
    clips = clips_below(tree.root)
    embeddings = embeddings_of(clips, info, embed)
    is_word = np.array([clip.word == word for clip in clips])
    return Spoken(embeddings[is_word], embeddings[~is_word])


def other_words(cfg: DictConfig, model: Path, info: ModelInfo) -> list[Clip]:
    """Clips of other words, of each at most `most_of_a_word`: below `others`, or of the model's validation split.

    Raises:
        KwsError: there are none.
    """
    if cfg.others is not None:
        clips = clips_below(Path(str(cfg.others)).expanduser())
    else:
        clips = validation_clips(model, info)
    by_word = defaultdict(list)
    for clip in clips:
        by_word[spoken_form(clip.word)].append(clip)
    by_word.pop(spoken_form(cfg.word), None)
    if not by_word:
        raise KwsError(
            f"expected clips of other words than {cfg.word}, as others=FOLDER with <word>/<clip>, found none"
        )
    chosen = []
    for found in by_word.values():
        places = np.linspace(0, len(found) - 1, min(len(found), cfg.most_of_a_word)).round()
        chosen += [found[i] for i in places.astype(int)]
    return chosen


def validation_clips(model: Path, info: ModelInfo) -> list[Clip]:
    """The clips of the validation split of the run in whose folder the model lies, each with its own word."""
    folder = model.absolute().parent
    if not (folder / runs.CONFIG_FILE).is_file():
        raise KwsError(
            f"expected the model in the folder of its run, whose validation clips tell of other words; {folder} has "
            f"no {runs.CONFIG_FILE}: give others=FOLDER with <word>/<clip>"
        )
    saved = runs.read_config(folder)
    split = recorded_split(saved, info)
    keywords, unknown = clips_of(split, info.labels)
    if split.packed is split.tree:
        unknown = other_clips(saved, split, keywords_of(info.labels), VALIDATION)
    return keywords + unknown


def embeddings_of(
    clips: Sequence[Clip], info: ModelInfo, embed: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """(n, E) embeddings of clips."""
    waveforms = (fit_length(clip.read(info.sample_rate), info.clip_samples) for clip in clips)
    return np.concatenate([embed(np.stack(batch)) for batch in batched(waveforms, BATCH_SIZE)])
