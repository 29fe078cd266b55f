"""Possible faults of recordings: measured on the packed clips, reported beyond limits.

Legend: B clips at a time, T samples of a clip. Levels are dBFS of the root mean square.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from speech_commands_kws.audio.levels import FULL_SCALE, frame_levels
from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.packed import PackedClips
from speech_commands_kws.data.speech_tree import (
    SPLITS,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.data.words import twice_spelled
from speech_commands_kws.errors import check_number, check_positive
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.labels import SILENCE, UNKNOWN

DIGEST_BYTES = 16

UNUSABLE, SILENT, SHORT, CLIPPED = "unusable", "silent", "too short", "clipped"
LONG = "longer than a clip"
OFFSET, MISLABELLED = "DC offset", "mislabelled?"
SAME, SAME_SPLITS, SAME_WORDS = "duplicate", "duplicate in another split", "duplicate, other word"
TWICE_SPELLED = "word in two spellings"
# The worst first.
KINDS = (
    *(UNUSABLE, TWICE_SPELLED, SAME_WORDS, SAME_SPLITS, SAME, MISLABELLED),
    *(SILENT, SHORT, CLIPPED, OFFSET, LONG),
)


class Finding(NamedTuple):
    """A possible fault of a clip for a person to check; `file` is relative to the root."""

    kind: str
    file: str
    word: str
    split: str
    detail: str


@dataclass(frozen=True)
class Limits:
    """Where a clip becomes a finding.

    Args:
        loud_seconds: the level of a clip is that of its loudest stretch of this length.
        silent_db: a clip below this level (dBFS) is silent.
        short_seconds: a clip is too short if it lasts less, without the zeros around it (seconds).
        clipped_samples: a clip is clipped if so many samples are at full scale.
        offset: largest mean of a clip's samples, of full scale.
        sure: a clip looks mislabelled if a model gives another class at least this probability.
    """

    loud_seconds: float
    silent_db: float
    short_seconds: float
    clipped_samples: int
    offset: float
    sure: float

    def __post_init__(self) -> None:
        check_positive(loud_seconds=self.loud_seconds)
        check_number(silent_db=self.silent_db)
        check_number(0, 1, sure=self.sure)


class Clip(NamedTuple):
    """A packed clip.

    Attributes:
        path: relative to the root.
        level_db: of the loudest stretch.
        seconds: from the first to the last sample that is not zero.
        at_full_scale: number of samples.
        mean: of full scale.
        digest: hash of the samples.
    """

    path: str
    word: str
    speaker: str
    split: str
    level_db: float
    seconds: float
    at_full_scale: int
    mean: float
    digest: bytes

    def finding(self, kind: str, detail: str) -> Finding:
        return Finding(kind, self.path, self.word, self.split, detail)


def measure(samples: np.ndarray, sample_rate: int, loud_seconds: float) -> dict[str, Any]:
    """What `Clip` says about the samples, (T,) int16; `loud_seconds` as in `Limits`."""
    waveform = samples.astype(np.float32) / INT16_SCALE
    stretch = min(max(round(loud_seconds * sample_rate), 1), len(samples))
    sounding = samples.nonzero()[0]
    return {
        "level_db": frame_levels(waveform, stretch).max(),
        "seconds": (sounding[-1] + 1 - sounding[0]) / sample_rate if len(sounding) else 0.0,
        "at_full_scale": np.count_nonzero(np.abs(waveform) >= FULL_SCALE),
        "mean": waveform.mean(),
        "digest": hashlib.blake2b(samples, digest_size=DIGEST_BYTES).digest(),
    }


def judge(clip: Clip, limits: Limits) -> Iterator[Finding]:
    """Whether a clip is silent, too short, clipped or off zero; one for silence can only be the last two."""
    if clip.word == SILENCE:
        pass
    elif clip.level_db < limits.silent_db:
        yield clip.finding(SILENT, f"loudest at {clip.level_db:.0f} dBFS")
    elif clip.seconds < limits.short_seconds:
        yield clip.finding(SHORT, f"{clip.seconds:.2f} s")
    if clip.at_full_scale >= limits.clipped_samples:
        yield clip.finding(CLIPPED, f"{clip.at_full_scale} samples at full scale")
    if abs(clip.mean) > limits.offset:
        yield clip.finding(OFFSET, f"mean at {100 * clip.mean:.1f}% of full scale")


def duplicates(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Every clip that sounds like one before it, sample for sample; clips for silence may."""
    first_of: dict[bytes, Clip] = {}
    for clip in clips:
        first = first_of.setdefault(clip.digest, clip)
        if clip is first or clip.word == SILENCE:
            continue
        kind = SAME_SPLITS if clip.split != first.split else SAME
        if clip.word != first.word:
            kind = SAME_WORDS
        yield clip.finding(kind, f"as {first.path} ({first.split})")


def disagreements(
    clips: Sequence[Clip],
    waveforms: Callable[[np.ndarray], np.ndarray],
    labels: Sequence[str],
    score: Callable[[np.ndarray], np.ndarray],
    sure: float,
    batch_size: int,
) -> Iterator[Finding]:
    """Clips of which a trained model is sure that they are something else than their word.

    Args:
        waveforms: numbers (B,) of clips to float32 (B, T).
        labels: classes of the model. A word that is none of them counts as `_unknown_`, or is passed
            over where there is no such class.
        score: waveforms (B, T) to probabilities (B, K).
        sure: least probability of the other class.
        batch_size: B.
    """
    own = [clip.word if clip.word in labels else UNKNOWN for clip in clips]
    known = np.array([i for i, label in enumerate(own) if label in labels], dtype=int)
    starts = range(0, len(known), batch_size)
    for start in progress(starts, doing="listening"):
        part = known[start : start + batch_size]
        for i, probabilities in zip(part, score(waveforms(part)), strict=True):
            heard = probabilities.argmax()
            if labels[heard] != own[i] and probabilities[heard] >= sure:
                detail = f"heard as {labels[heard]} ({probabilities[heard]:.1%})"
                yield clips[i].finding(MISLABELLED, detail)


@dataclass(frozen=True)
class Report:
    """What is known about a data set; `findings` are sorted, the worst kind first."""

    clips: Sequence[Clip]
    findings: Sequence[Finding]

    @property
    def kinds(self) -> dict[str, int]:
        """How many findings there are of each kind that there are any of, the worst kind first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def levels_db(self) -> list[float]:
        return [clip.level_db for clip in self.clips]

    @property
    def n_speakers(self) -> int:
        return len({clip.speaker for clip in self.clips})

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """A row for each word: clips by split, and speakers."""
        clips = Counter((clip.word, clip.split) for clip in self.clips)
        people = Counter(word for word, _ in {(clip.word, clip.speaker) for clip in self.clips})
        return {
            word: {split: clips[word, split] for split in SPLITS} | {"speakers": people[word]}
            for word in sorted(people)
        }


def inspect(
    tree: SpeechTree,
    packed: PackedClips,
    limits: Limits,
    sample_rate: int,
    batch_size: int,
    spotter: KeywordSpotter | None = None,
) -> Report:
    """Look at all packed clips of a tree, and listen to them with a trained model where there is one."""
    words, speakers = words_and_speakers(packed.paths, tree.pattern)
    splits = map(str, assign_splits(tree, packed.paths, words, speakers))
    rows = zip(packed.paths, words, speakers, splits, packed.clips, strict=True)
    clips = [
        Clip(*facts, **measure(samples, sample_rate, limits.loud_seconds))
        for *facts, samples in progress(rows, len(words), doing="measuring")
    ]
    findings = [Finding(UNUSABLE, "", "", "", reason) for reason in packed.left_out]
    for word, other in twice_spelled(words):
        detail = f"{word!a} and {other!a}: only one of them can be a keyword"
        findings.append(Finding(TWICE_SPELLED, "", other, "", detail))
    findings += duplicates(clips)
    findings += (finding for clip in clips for finding in judge(clip, limits))
    clip_seconds = packed.clips.shape[1] / sample_rate
    findings += (
        clip.finding(
            LONG, f"{packed.longer[clip.path]:.2f} s, cut to its loudest {clip_seconds:g} s"
        )
        for clip in clips
        if clip.path in packed.longer
    )
    if spotter is not None:
        findings += disagreements(
            clips, packed.waveforms, spotter.labels, spotter.score, limits.sure, batch_size
        )
    findings.sort(key=lambda finding: KINDS.index(finding.kind))
    return Report(clips, findings)
