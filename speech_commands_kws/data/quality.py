"""Possible faults of recordings: measured on the packed clips, reported beyond limits.

Legend: N clips, B of them at a time, T samples of a clip. Levels are dBFS of the root mean square.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from speech_commands_kws.audio.levels import FULL_SCALE, level_db
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.packed import INT16_SCALE, PackedClips
from speech_commands_kws.data.speech_tree import (
    SPLITS,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.errors import check_number, check_positive
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.labels import SILENCE, UNKNOWN

DIGEST_BYTES = 16

UNUSABLE, SILENT, SHORT, CLIPPED = "unusable", "silent", "too short", "clipped"
OFFSET, MISLABELLED = "DC offset", "mislabelled?"
SAME, SAME_SPLITS, SAME_WORDS = "duplicate", "duplicate in another split", "duplicate, other word"
# The worst first.
KINDS = (
    *(UNUSABLE, SAME_WORDS, SAME_SPLITS, SAME, MISLABELLED),
    *(SILENT, SHORT, CLIPPED, OFFSET),
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


@dataclass(frozen=True)
class Measures:
    """What `measure` finds about N clips.

    Attributes:
        level_db: (N,) of the loudest stretch.
        seconds: (N,) from the first to the last sample that is not zero.
        at_full_scale: (N,) samples.
        mean: (N,) of full scale.
        digests: N hashes of the samples.
    """

    level_db: np.ndarray
    seconds: np.ndarray
    at_full_scale: np.ndarray
    mean: np.ndarray
    digests: list[bytes]


@dataclass(frozen=True)
class ClipTable:
    """A row for each of N clips: `paths`, (N, T) int16 `clips`, words, speakers and splits."""

    paths: Sequence[str]
    clips: np.ndarray
    words: Sequence[str]
    speakers: Sequence[str]
    splits: Sequence[str]

    def finding(self, kind: str, index: int, detail: str) -> Finding:
        return Finding(kind, self.paths[index], self.words[index], str(self.splits[index]), detail)


def measure(
    clips: np.ndarray, sample_rate: int, loud_seconds: float, blocks: Iterable[slice]
) -> Measures:
    """Measure (N, T) int16 clips, a block of them at a time."""
    parts = [_measure_block(clips[block], sample_rate, loud_seconds) for block in blocks]
    columns = [np.concatenate(column) for column in list(zip(*parts))[:-1]]
    return Measures(*columns, digests=[digest for part in parts for digest in part[-1]])


def _measure_block(
    samples: np.ndarray, sample_rate: int, loud_seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[bytes]]:
    n_clips, clip_samples = samples.shape
    digests = [hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in samples]
    waveforms = samples.astype(np.float32) / INT16_SCALE
    stretch = min(max(round(loud_seconds * sample_rate), 1), clip_samples)
    whole = clip_samples // stretch * stretch
    stretches = waveforms[:, :whole].reshape(n_clips, -1, stretch)
    power = np.einsum("bst,bst->bs", stretches, stretches) / stretch
    sounding = samples != 0
    first, last = sounding.argmax(axis=1), clip_samples - sounding[:, ::-1].argmax(axis=1)
    seconds = np.where(sounding.any(axis=1), last - first, 0) / sample_rate
    at_full_scale = np.count_nonzero(np.abs(waveforms) >= FULL_SCALE, axis=1)
    return level_db(power.max(axis=1)), seconds, at_full_scale, waveforms.mean(axis=1), digests


def judge(table: ClipTable, measures: Measures, limits: Limits) -> Iterator[Finding]:
    """Clips that are silent, too short, clipped or off zero; of clips for silence only the clipped."""
    meant_silent = np.array([word == SILENCE for word in table.words])
    silent = (measures.level_db < limits.silent_db) & ~meant_silent
    short = (measures.seconds < limits.short_seconds) & ~meant_silent & ~silent
    for i in silent.nonzero()[0]:
        yield table.finding(SILENT, i, f"loudest at {measures.level_db[i]:.0f} dBFS")
    for i in short.nonzero()[0]:
        yield table.finding(SHORT, i, f"{measures.seconds[i]:.2f} s")
    for i in (measures.at_full_scale >= limits.clipped_samples).nonzero()[0]:
        detail = f"{measures.at_full_scale[i]} samples at full scale"
        yield table.finding(CLIPPED, i, detail)
    for i in (np.abs(measures.mean) > limits.offset).nonzero()[0]:
        detail = f"mean at {100 * measures.mean[i]:.1f}% of full scale"
        yield table.finding(OFFSET, i, detail)


def duplicates(table: ClipTable, digests: Sequence[bytes]) -> Iterator[Finding]:
    """Every clip that sounds like one before it, sample for sample; clips for silence may."""
    alike: dict[bytes, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        if table.words[i] != SILENCE:
            alike[digest].append(i)
    for first, *others in alike.values():
        for i in others:
            kind = SAME
            if table.splits[i] != table.splits[first]:
                kind = SAME_SPLITS
            if table.words[i] != table.words[first]:
                kind = SAME_WORDS
            detail = f"as {table.paths[first]} ({table.splits[first]})"
            yield table.finding(kind, i, detail)


def disagreements(
    table: ClipTable,
    labels: Sequence[str],
    score: Callable[[np.ndarray], np.ndarray],
    sure: float,
    blocks: Iterable[slice],
) -> Iterator[Finding]:
    """Clips of which a trained model is sure that they are something else than their word.

    Args:
        labels: classes of the model. A word that is none of them counts as `_unknown_`, or is passed
            over where there is no such class.
        score: (B, T) float32 waveforms to (B, K) probabilities.
        sure: least probability of the other class.
        blocks: of clips to score at once.
    """
    index_of = {label: i for i, label in enumerate(labels)}
    fallback = index_of.get(UNKNOWN, -1)
    targets = np.array([index_of.get(word, fallback) for word in table.words])
    for block in blocks:
        probabilities = score(table.clips[block].astype(np.float32) / INT16_SCALE)
        heard, own = probabilities.argmax(axis=1), targets[block]
        doubted = (heard != own) & (own >= 0) & (probabilities.max(axis=1) >= sure)
        for j in doubted.nonzero()[0]:
            detail = f"heard as {labels[heard[j]]} ({probabilities[j, heard[j]]:.1%})"
            yield table.finding(MISLABELLED, block.start + j, detail)


@dataclass(frozen=True)
class Report:
    """What is known about a data set; `findings` are sorted, the worst kind first."""

    table: ClipTable
    measures: Measures
    findings: list[Finding]

    @property
    def kinds(self) -> dict[str, int]:
        """How many findings there are of each kind that there are any of, the worst kind first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def n_speakers(self) -> int:
        return len(set(self.table.speakers))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """A row for each word: clips by split, and speakers."""
        words = self.table.words
        clips = Counter(zip(words, map(str, self.table.splits), strict=True))
        people = Counter(word for word, _ in set(zip(words, self.table.speakers, strict=True)))
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
    splits = assign_splits(tree, packed.paths, speakers)
    table = ClipTable(packed.paths, packed.clips, words, speakers, splits)
    starts = range(0, len(words), batch_size)
    blocks = [slice(start, min(start + batch_size, len(words))) for start in starts]
    measures = measure(
        packed.clips, sample_rate, limits.loud_seconds, progress(blocks, doing="measuring")
    )
    findings = [Finding(UNUSABLE, "", "", "", reason) for reason in packed.left_out]
    findings += duplicates(table, measures.digests)
    findings += judge(table, measures, limits)
    if spotter is not None:
        parts = progress(blocks, doing="listening")
        findings += disagreements(table, spotter.labels, spotter.score, limits.sure, parts)
    findings.sort(key=lambda finding: KINDS.index(finding.kind))
    return Report(table, measures, findings)
