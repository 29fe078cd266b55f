"""Streams to test a listener on, made when they are asked for: the same for the same seed, and never stored.

Legend: T samples.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speech_commands_kws.audio.levels import amplitude, amplitude_for_snr, frame_levels
from speech_commands_kws.audio.locate import sounds_below
from speech_commands_kws.audio.reading import AudioError, read_audio, stream_audio
from speech_commands_kws.audio.room_acoustics import convolve
from speech_commands_kws.audio.takes import FRAME_SECONDS, word_frames
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.data.synthesis.talk import SyntheticTalk
from speech_commands_kws.errors import (
    KwsError,
    check_number,
    check_positive,
    check_range,
    check_whole,
    display_name,
)
from speech_commands_kws.evaluation.robustness import excerpts, within_range
from speech_commands_kws.evaluation.streaming.alarm_rates import SECONDS_PER_HOUR
from speech_commands_kws.evaluation.streaming.matching import Word
from speech_commands_kws.evaluation.streaming.transcripts import Said, spellings_of, words_said
from speech_commands_kws.labels import BACKGROUND_NOISE, SILENCE, UNKNOWN, is_keyword

LOG = logging.getLogger(__name__)
WORDS, OTHER_WORDS, TALK = "words", "other words", "synthetic talk"
FLOOR_QUANTILE = 0.1


class Stream(NamedTuple):
    """A waveform (T,), float32, of a kind of sound, and the keywords that are said in it.

    Those of `said` are said in sound that is there to count false alarms, nobody knows exactly when.
    """

    name: str
    kind: str
    waveform: np.ndarray
    words: list[Word]
    said: Sequence[Said] = ()


class Clip(NamedTuple):
    """A recording of a word; `read` gives its waveform (T,) at a sample rate."""

    word: str
    name: str
    read: Callable[[int], np.ndarray]


def clips_below(folder: str | Path, words: Sequence[str]) -> tuple[list[Clip], list[Clip]]:
    """The clips `<word>/<clip>` of a folder: those of the keywords, and those of other words.

    Raises:
        KwsError: there is none of a keyword.
    """
    clips = [
        Clip(path.parent.name, display_name(path), partial(read_audio, path))
        for path in sounds_below(Path(folder))
    ]
    keywords = [clip for clip in clips if clip.word in words]
    if not keywords:
        raise KwsError(
            f"expected clips <word>/<clip> of {', '.join(words)} below {folder}, found none"
        )
    left_out = (*words, SILENCE, BACKGROUND_NOISE)
    others = [clip for clip in clips if clip.word not in left_out]
    return keywords, others


def clips_of(split: SplitClips, labels: Sequence[str]) -> tuple[list[Clip], list[Clip]]:
    """The clips of a split: those of the keywords, and those of other words."""

    def read(index: int, sample_rate: int) -> np.ndarray:
        return split.waveforms(slice(index, index + 1))[0]

    clips = [
        Clip(labels[target], name, partial(read, i))
        for i, (name, target) in enumerate(zip(split.names, split.targets, strict=True))
    ]
    keywords = [clip for clip in clips if is_keyword(clip.word)]
    return keywords, [clip for clip in clips if clip.word == UNKNOWN]


@dataclass(frozen=True)
class Condition:
    """How words are heard.

    Attributes:
        snr_db: of words and noise; None: no noise.
        room: whether words are said in a room.
        noise_share: of the words, with the time before them, that noise is heard with.
    """

    name: str
    snr_db: float | None
    room: bool
    noise_share: float


@dataclass(frozen=True)
class WordStreams:
    """Each keyword clip once in each condition, in streams of `words_per_stream`.

    Attributes:
        conditions: the arguments of each `Condition`.
        gap_seconds: lowest and highest, before each clip.
        other_share: of the keywords, before which another word is said.
        other_gap_seconds: lowest and highest, before each clip of `others`.
        level_db: lowest and highest level of the words of a stream (dBFS of the root mean square).
        trim_db, pause_seconds: how a word is found in its clip, as of `TakeCriteria`; but not nearer to the clip's
            quiet frames than `floor_db`, or a noisy clip would be all word. Levels and signal-to-noise ratios
            are those of this part, and it is the truth that events are compared with.
        hours: of the words in each condition, up to the end of a stream; None: all.
        sample_rate: of the streams (Hz).
        seed: of all drawing.
    """

    conditions: Sequence[Mapping[str, Any]]
    words_per_stream: int
    gap_seconds: Sequence[float]
    other_share: float
    other_gap_seconds: Sequence[float]
    level_db: Sequence[float]
    trim_db: float
    floor_db: float
    pause_seconds: float
    hours: float | None
    sample_rate: int
    seed: int

    def __post_init__(self) -> None:
        check_whole(words_per_stream=self.words_per_stream, sample_rate=self.sample_rate)
        check_whole(0, seed=self.seed)
        check_range(0, gap_seconds=self.gap_seconds)
        check_range(0, other_gap_seconds=self.other_gap_seconds)
        check_range(level_db=self.level_db)
        check_number(0, 1, other_share=self.other_share)
        check_positive(trim_db=self.trim_db, floor_db=self.floor_db)

    def streams(
        self,
        keywords: Sequence[Clip],
        others: Sequence[Clip],
        noises: Sequence[np.ndarray],
        responses: np.ndarray,
    ) -> Iterator[Stream]:
        """One condition after the other, each with the same words in the same places.

        Args:
            noises: recordings (T,) of noise.
            responses: (n, R) impulse responses of rooms.
        """
        order = np.random.default_rng(self.seed).permutation(len(keywords))
        parts = np.split(order, range(self.words_per_stream, len(order), self.words_per_stream))
        left = samples_of(self.hours, self.sample_rate)
        for condition in (Condition(**settings) for settings in self.conditions):
            for number, part in enumerate(parts):
                generator = np.random.default_rng([self.seed, number])
                name = f"{WORDS}, {condition.name}, {number}"
                clips = [keywords[i] for i in part]
                stream = self._stream(name, condition, clips, others, noises, responses, generator)
                yield stream
                left -= len(stream.waveform)
                if left <= 0:
                    parts = parts[: number + 1]
                    break
            left = inf  # the same words in the other conditions

    def others(self, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
        """The sound (T,) of each clip once, at a level of its own behind a gap of its own."""
        generator = np.random.default_rng(self.seed)
        for i in generator.permutation(len(clips)):
            gap = generator.uniform(*self.other_gap_seconds) * self.sample_rate
            spoken, _, _ = self._spoken(clips[i], generator.uniform(*self.level_db))
            yield within_range(np.pad(spoken, (round(gap), 0))[None])[0].astype(np.float32)

    def _stream(
        self,
        name: str,
        condition: Condition,
        clips: Sequence[Clip],
        others: Sequence[Clip],
        noises: Sequence[np.ndarray],
        responses: np.ndarray,
        generator: np.random.Generator,
    ) -> Stream:
        level_db = generator.uniform(*self.level_db)
        pieces, noisy, words, samples = [], [], [], 0
        for clip, is_wanted in self._with_others(clips, others, generator):
            gap = np.zeros(
                round(generator.uniform(*self.gap_seconds) * self.sample_rate), np.float32
            )
            spoken, start, end = self._spoken(clip, level_db)
            if condition.room:
                spoken = in_room(spoken, responses[generator.integers(len(responses))])
            if is_wanted:
                at = samples + len(gap)
                times = ((at + sample) / self.sample_rate for sample in (start, end))
                words.append(Word(name, clip.word, *times, condition.name))
            pieces += [gap, spoken]
            samples += len(gap) + len(spoken)
            noisy.append(
                np.full(len(gap) + len(spoken), generator.random() < condition.noise_share)
            )
        waveform = np.concatenate(pieces)
        if condition.snr_db is not None:
            noise = noise_of(noises, len(waveform), generator)
            waveform = waveform + np.concatenate(noisy) * at_level(
                noise, level_db - condition.snr_db
            )
        return Stream(name, WORDS, within_range(waveform[None])[0].astype(np.float32), words)

    def _with_others(
        self, clips: Sequence[Clip], others: Sequence[Clip], generator: np.random.Generator
    ) -> Iterator[tuple[Clip, bool]]:
        for clip in clips:
            if others and generator.random() < self.other_share:
                yield others[generator.integers(len(others))], False
            yield clip, True

    def _spoken(self, clip: Clip, level_db: float) -> tuple[np.ndarray, int, int]:
        """A clip with its word at a level, and where the word begins and ends in it (samples)."""
        waveform = clip.read(self.sample_rate)
        frame = round(FRAME_SECONDS * self.sample_rate)
        levels = frame_levels(waveform, frame)
        above_floor = levels.max() - np.quantile(levels, FLOOR_QUANTILE) - self.floor_db
        trim_db = min(self.trim_db, max(above_floor, self.floor_db))
        first, last = word_frames(levels, trim_db, self.pause_seconds)
        start, end = first * frame, (last + 1) * frame
        power = np.mean(np.square(waveform[start:end], dtype=np.float64))
        if not power:
            raise KwsError(f"{clip.name} is silent: remove it")
        return waveform * np.float32(amplitude(level_db) / np.sqrt(power)), start, end


def samples_of(hours: float | None, sample_rate: int) -> float:
    """So many at most; None: any number."""
    return inf if hours is None else round(hours * SECONDS_PER_HOUR * sample_rate)


def in_room(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """A waveform (T,) in a room, with what is heard there behind its end."""
    tail = np.zeros(len(response), np.float32)
    return convolve(np.concatenate([waveform, tail])[None], response[None])[0].astype(np.float32)


def noise_of(
    noises: Sequence[np.ndarray], samples: int, generator: np.random.Generator
) -> np.ndarray:
    return excerpts(noises[generator.integers(len(noises))], 1, samples, generator)[0]


def at_level(noise: np.ndarray, level_db: float) -> np.ndarray:
    """Noise (T,) at a level over all of it (dBFS of the root mean square); silence stays silent."""
    power = np.mean(np.square(noise, dtype=np.float64))
    return noise * np.float32(amplitude_for_snr(1.0, power, 0.0) * amplitude(level_db))


@dataclass(frozen=True)
class AmbientStreams:
    """Sound without keywords by kind, in blocks.

    Attributes:
        folder: of recordings, a folder in it for each kind; they follow each other in the order of their names.
        talk: synthetic talk; where there are recordings too, it is left out if it cannot be made.
        talk_split: whose lines and voices it has.
        talk_hours: of it, unless `hours` are given; 0: none.
        homophones: of a keyword; where one of them, or the keyword, is in the transcript of a recording
            (as of `words_said`), it is said there.
        block_seconds: length of a stream; the last one of a kind is shorter.
        pause_seconds: of silence between two recordings.
        hours: of each kind at most; None: all.
        sample_rate: of the streams (Hz).
    """

    folder: str | None
    talk: SyntheticTalk | None
    talk_split: str
    talk_hours: float
    homophones: Mapping[str, Sequence[str]]
    block_seconds: float
    pause_seconds: float
    hours: float | None
    sample_rate: int

    def __post_init__(self) -> None:
        check_positive(block_seconds=self.block_seconds)
        check_number(0, pause_seconds=self.pause_seconds, talk_hours=self.talk_hours)
        if self.hours is not None:
            check_positive(hours=self.hours)

    def streams(
        self, keywords: Sequence[str] = (), others: Iterable[np.ndarray] = ()
    ) -> Iterator[Stream]:
        """One kind after the other: recordings, other words, talk.

        Args:
            keywords: those of which `Stream.said` tells.
            others: sounds of other words, as of `WordStreams.others`.
        """
        spellings = spellings_of(keywords, self.homophones)
        for kind, paths in self._kinds().items():
            said = words_said(Path(self.folder).expanduser() / kind, paths, spellings)
            for number, (block, found) in enumerate(self._recorded(paths, said)):
                yield Stream(f"{kind}, {number}", kind, block, [], found)
        for kind, blocks in ((OTHER_WORDS, self._blocks(others)), (TALK, self._talk())):
            for number, block in enumerate(blocks):
                yield Stream(f"{kind}, {number}", kind, block, [])

    def _talk(self) -> Iterator[np.ndarray]:
        """Blocks of talk, as many spoken at a time as there are processors."""
        if self.talk is None or not self.talk_hours:
            return
        hours = self.talk_hours if self.hours is None else self.hours
        count, at_once = round(hours * SECONDS_PER_HOUR / self.talk.block_seconds), os.cpu_count()
        speak = partial(self.talk.block, self.talk_split)
        try:
            # The first one alone: it finds the lines without keywords, once for all.
            yield from map(speak, range(min(count, 1)))
        except KwsError as error:
            if self.folder is None:
                raise
            LOG.warning("left out: %s: %s", TALK, error)
            return
        with ThreadPoolExecutor(at_once) as executor:
            for first in range(1, count, at_once):
                yield from executor.map(speak, range(first, min(first + at_once, count)))

    def _kinds(self) -> dict[str, list[Path]]:
        """The recordings of each kind."""
        if self.folder is None:
            return {}
        folder = Path(self.folder).expanduser()
        below = sorted(path for path in folder.glob("*") if path.is_dir())
        kinds = {path.name: sounds_below(path) for path in below}
        if not kinds:
            raise KwsError(
                f"expected recordings without keywords in {folder}, a folder for each kind of sound, found none: put "
                "them there, run `make speech-corpora`, or do without (protocol.ambient.folder=null)"
            )
        for kind, paths in kinds.items():
            if not paths:
                raise KwsError(
                    f"expected recordings below {folder / kind}, found none: run `make speech-corpora`"
                )
        return kinds

    def _recorded(
        self, paths: Sequence[Path], said: Mapping[Path, Sequence[str]]
    ) -> Iterator[tuple[np.ndarray, list[Said]]]:
        """The blocks of a kind, and where in them the keywords `said` in a recording may be."""
        spans: list[tuple[int, int, Sequence[str]]] = []
        first = 0
        for block in self._blocks(self._sounds(paths, said, spans)):
            yield block, list(said_within(spans, first, len(block), self.sample_rate))
            first += len(block)

    def _blocks(self, sounds: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Consecutive sounds in blocks, `hours` at most."""
        left = samples_of(self.hours, self.sample_rate)
        for block in blocks_of(sounds, round(self.block_seconds * self.sample_rate)):
            block = block[: min(left, len(block))]
            yield block
            left -= len(block)
            if left <= 0:
                return

    def _sounds(
        self,
        paths: Sequence[Path],
        said: Mapping[Path, Sequence[str]],
        spans: list[tuple[int, int, Sequence[str]]],
    ) -> Iterator[np.ndarray]:
        """The recordings with pauses; before each piece, its first and last sample and its keywords go to `spans`."""
        pause = np.zeros(round(self.pause_seconds * self.sample_rate), np.float32)
        position = 0
        for path in paths:
            for sound in readable(path, self.sample_rate):
                spans.append((position, position + len(sound), said.get(path, ())))
                yield sound
                position += len(sound)
            yield pause
            position += len(pause)


def said_within(
    spans: Iterable[tuple[int, int, Sequence[str]]], first: int, samples: int, sample_rate: int
) -> Iterator[Said]:
    """What is said in the `samples` from `first` on, in seconds from there."""
    for begin, end, keywords in spans:
        start, stop = max(begin - first, 0), min(end - first, samples)
        if start < stop:
            for keyword in keywords:
                yield Said(keyword, start / sample_rate, stop / sample_rate)


def readable(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """The sound of a recording, as far as it can be read; a line in the log says why it ends."""
    try:
        yield from stream_audio(path, sample_rate)
    except AudioError as error:
        LOG.warning("left out: %s", error)


def blocks_of(sounds: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """Cut consecutive waveforms anew: blocks (samples,), the last one shorter."""
    held, length = [], 0
    for sound in sounds:
        held.append(sound)
        length += len(sound)
        while length >= samples:
            joined = np.concatenate(held)
            yield joined[:samples]
            held, length = [joined[samples:]], length - samples
    if length:
        yield np.concatenate(held)
