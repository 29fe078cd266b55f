"""Training on streams: clips are laid into longer sound, and the network learns to answer at the end of a word alone.

A keyword counts where the network is surest of it around the end of the word (max pooling, Sun et al. 2017, arXiv
1705.02411); elsewhere the hardest frames must hold no keyword (constrained max pooling with hard frames, Hou et al.
2020, arXiv 2011.01460).

Legend: B clips, T samples of a clip, S streams, L samples of a stream, P words of a stream, F frames, K keywords.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from speech_commands_kws.audio.levels import amplitude
from speech_commands_kws.audio.noise_recordings import find_recordings
from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.augment.level import within_range
from speech_commands_kws.augment.primitives import random_excerpts, random_integers
from speech_commands_kws.augment.subset import uniform
from speech_commands_kws.data.packed import PackedRecordings, pack_recordings
from speech_commands_kws.errors import (
    SettingError,
    check_number,
    check_positive,
    check_range,
    check_whole,
)
from speech_commands_kws.evaluation.streaming.transcripts import spellings_of, without_keywords
from speech_commands_kws.labels import SILENCE, UNKNOWN, is_keyword, keywords_of

LEAST_POWER = 1e-10
# A frame is part of the word from this many dB below its loudest frame on, or this share of the way up from the floor.
WORD_RANGE_DB = 25
WORD_SHARE = 0.4
FLOOR_QUANTILE = 0.1
FADE_SECONDS = (
    0.02  # a clip's own noise must not begin and end at once: the network would listen for that
)
LOG_HALF = -0.693


class Streams(NamedTuple):
    """Composed streams.

    Attributes:
        waveform: (S, L).
        targets: (S, P) class of each word, -1 where it is none that the stream must report.
        starts, ends: (S, P) of each word, frames.
    """

    waveform: Tensor
    targets: Tensor
    starts: Tensor
    ends: Tensor


class StreamScores(NamedTuple):
    """How wrong the answers for streams are.

    Attributes:
        missed: the loss of the keywords, their mean; zero where there are none.
        false_alarms: that of the hardest frames, with its weight.
        found: share of the keywords.
        keywords: their number.
    """

    missed: Tensor
    false_alarms: Tensor
    found: Tensor
    keywords: int


class StreamTraining(nn.Module):
    """Composes streams of the clips of a batch, and tells how wrong the answers for them are.

    Streams hold `words` clips each, at random places; a further share of streams holds no keyword: other words and
    fragments of keywords. Continuous speech without keywords, where there is some, lies under both, and in a share of
    the latter a false alarm of an earlier model takes the place of a part of it.

    Args:
        seconds: length of a stream.
        words: clips in each, P.
        keywordless: share of the streams without a keyword.
        negatives: folder of recordings without keywords, or several, or None; less than a stream of them is repeated.
        negatives_seconds: at most so much of it.
        speech_share: share of the streams with keywords that have continuous speech under them.
        speech_snr_db: words over that speech (decibel), lowest and highest.
        level_db: of a stream of continuous speech alone (dBFS), lowest and highest.
        early_seconds, late_seconds: the answer is due from so long before the end of a word until so long after it.
        masked_seconds: after the end of a word nothing is asked for so long.
        hard_frames: of a stream that must hold no keyword.
        apart_seconds: these lie in different stretches of this length.
        negative_weight: of the hardest frames' loss, at the beginning and at the end of the training.
        sample_rate: Hz.
        hop_ms: of the frames (milliseconds).
        clip_seconds: length of a clip.
        labels: the classes.
        cache: folder for the packed form of negatives and false alarms.
        fragment_share: of a keyword, its beginning or its end, that may be left where there must be none.
        mined: folder of clips of false alarms, or several, or None.
        mined_share: of the streams without a keyword, that hold one of them and no words.
        homophones: of a keyword; negatives in whose transcript (as of `words_said`) one of them is, or the keyword, are
            left out; None: all are heard.

    Attributes:
        fingerprint: SHA-256 of negatives and false alarms.

    Raises:
        SettingError: a value out of its range; the clips do not fit into a stream; no class means "no keyword"; false
            alarms, and no recordings to lay them into.
    """

    def __init__(
        self,
        seconds: float,
        words: int,
        keywordless: float,
        negatives: str | Sequence[str] | None,
        negatives_seconds: float | None,
        speech_share: float,
        speech_snr_db: Sequence[float],
        level_db: Sequence[float],
        early_seconds: float,
        late_seconds: float,
        masked_seconds: float,
        hard_frames: int,
        apart_seconds: float,
        negative_weight: Sequence[float],
        sample_rate: int,
        hop_ms: float,
        clip_seconds: float,
        labels: Sequence[str],
        cache: str | Path,
        # Runs from before there were any have no settings for these; they left halves of keywords.
        fragment_share: float = 0.5,
        mined: str | Sequence[str] | None = None,
        mined_share: float = 0.0,
        homophones: Mapping[str, Sequence[str]] | None = None,
    ):
        super().__init__()
        check_positive(seconds=seconds, apart_seconds=apart_seconds)
        check_number(0, early_seconds=early_seconds, late_seconds=late_seconds)
        check_number(0, masked_seconds=masked_seconds)
        check_whole(words=words, hard_frames=hard_frames)
        check_number(0, 1, speech_share=speech_share, mined_share=mined_share)
        check_number(0, 1, keywordless=keywordless, fragment_share=fragment_share)
        if keywordless == 1:
            raise SettingError("keywordless must be below 1, got 1: no stream would hold a word")
        check_range(speech_snr_db=speech_snr_db)
        check_range(level_db=level_db)
        check_range(0, negative_weight=negative_weight)
        self.hop = round(sample_rate * hop_ms / 1000)
        self.frames = round(seconds * sample_rate / self.hop)
        self.clip_frames = ceil(round(clip_seconds * sample_rate) / self.hop)
        if words * self.clip_frames > self.frames:
            needed = words * self.clip_frames * self.hop / sample_rate
            raise SettingError(
                f"seconds must be at least {needed:g} for {words} clips of {clip_seconds:g} s, got {seconds}"
            )
        self.words, self.keywordless = words, keywordless
        self.fragment_share = fragment_share
        self.speech_share, self.speech_snr_db, self.level_db = speech_share, speech_snr_db, level_db
        frames = sample_rate / self.hop
        self.early, self.late = round(early_seconds * frames), round(late_seconds * frames)
        self.masked = round(masked_seconds * frames)
        self.hard_frames, self.apart = hard_frames, max(round(apart_seconds * frames), 1)
        self.negative_weight = negative_weight
        if mined and not negatives:
            raise SettingError(
                "mined needs recordings to lay its clips into, got no negatives: give both"
            )
        self.mined_share = mined_share
        length = self.frames * self.hop
        spellings = None if homophones is None else spellings_of(keywords_of(labels), homophones)
        heard = packed(negatives, Path(cache), sample_rate, negatives_seconds, spellings)
        speech = heard.samples
        if 0 < len(speech) < length:
            speech = np.resize(speech, length)
        # The end of a clip is where the alarm was.
        false_alarms = packed(mined, Path(cache), sample_rate)
        ends = np.cumsum(false_alarms.lengths, dtype=int)
        alarms = [clip[-length:] for clip in np.split(false_alarms.samples, ends[:-1])]
        fingerprints = heard.fingerprint + false_alarms.fingerprint
        self.fingerprint = hashlib.sha256(fingerprints.encode()).hexdigest()
        alarm_samples = torch.tensor(list(map(len, alarms)), dtype=torch.long)
        keywords = list(map(is_keyword, labels))
        if all(keywords):
            raise SettingError(
                f"labels must have {UNKNOWN} or {SILENCE}, the answer where no keyword is, got {', '.join(labels)}: "
                "streams need another task"
            )
        self.register_buffer("is_keyword", torch.tensor(keywords), persistent=False)
        self.fade = round(FADE_SECONDS * sample_rate)
        self.register_buffer("alarm_samples", alarm_samples, persistent=False)
        self.register_buffer("alarm_starts", alarm_samples.cumsum(0) - alarm_samples, False)
        self.speech = torch.from_numpy(speech)
        self.alarms = torch.from_numpy(np.concatenate([np.zeros(0, np.int16), *alarms]))

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> "StreamTraining":
        # No buffers: an average of the weights (callbacks.EMAWeightAveraging) copies these at every step.
        self.speech, self.alarms = change(self.speech), change(self.alarms)
        return super()._apply(change, recurse)

    def compose(self, clips: Tensor, targets: Tensor, generator: Generator) -> Streams:
        """Streams of clips (B, T) of the classes (B,)."""
        count, samples = clips.shape
        n_with = max(count // self.words, 1)
        n_streams = max(round(n_with / (1 - self.keywordless)), n_with)
        order = torch.randperm(count, generator=generator, device=clips.device)
        drawn = torch.randint(
            count, ((n_streams - n_with) * self.words,), generator=generator, device=clips.device
        )
        # Fewer clips than a stream holds, at the end of an epoch, are heard several times.
        order = order.repeat(ceil(self.words / count))[: n_with * self.words]
        order = torch.cat([order, drawn])
        words, targets = self._faded(clips[order]), targets[order]
        first, last = active_frames(words, self.hop)
        wanted = self.is_keyword[targets]
        wanted[n_with * self.words :] = False
        words = self._cut(words, self.is_keyword[targets] & ~wanted, first, last, generator)

        length = self.frames * self.hop
        offsets = self._places(n_streams, generator)  # (S, P) frames
        waveform = clips.new_zeros(n_streams, length)
        positions = torch.arange(samples, device=clips.device)
        for i in range(self.words):
            columns = offsets[:, i : i + 1] * self.hop + positions
            waveform.scatter_add_(1, columns, words[i :: self.words])
        waveform = self._over_speech(waveform, n_with, generator)
        shape = n_streams, self.words
        starts, ends = (offsets + part.reshape(shape) for part in (first, last))
        targets = torch.where(wanted, targets, -1).reshape(shape)
        return Streams(within_range(waveform), targets, starts, ends)

    def _faded(self, clips: Tensor) -> Tensor:
        samples = clips.shape[1]
        edge = torch.arange(samples, device=clips.device).add_(1)
        return clips * (torch.minimum(edge, edge.flip(0)) / self.fade).clamp(max=1)

    def _places(self, n_streams: int, generator: Generator) -> Tensor:
        """(S, P) first frames of the clips, one after another at random distances."""
        free = self.frames - self.words * self.clip_frames
        shape = n_streams, self.words
        gaps = torch.rand(shape, generator=generator, device=generator.device).sort(dim=1).values
        steps = self.clip_frames * torch.arange(self.words, device=generator.device)
        return (gaps * (free + 1)).long().clamp(max=free) + steps

    def _cut(
        self, words: Tensor, chosen: Tensor, first: Tensor, last: Tensor, generator: Generator
    ) -> Tensor:
        """The chosen words without all but a fragment at their beginning or their end."""
        kept = (self.fragment_share * (last + 1 - first)).round().long()
        first_end, last_start = (first + kept) * self.hop, (last + 1 - kept) * self.hop
        positions = torch.arange(words.shape[1], device=words.device)
        keeps_first = torch.rand(len(words), 1, generator=generator, device=words.device) < 0.5
        is_kept = torch.where(
            keeps_first, positions < first_end[:, None], positions >= last_start[:, None]
        )
        return words * (is_kept | ~chosen[:, None])

    def _over_speech(self, waveform: Tensor, n_with: int, generator: Generator) -> Tensor:
        """Streams with continuous speech under some of them."""
        n_streams, length = waveform.shape
        if len(self.speech) < length:
            return waveform
        with_words = torch.arange(n_streams, device=waveform.device)[:, None] < n_with
        speech = random_excerpts(self.speech, n_streams, length, generator).float() / INT16_SCALE
        has_alarm = torch.zeros_like(with_words)
        if len(self.alarms):
            drawn = torch.rand(n_streams, 1, generator=generator, device=waveform.device)
            has_alarm = ~with_words & (drawn < self.mined_share)
            speech = torch.where(has_alarm, self._with_alarms(speech, generator), speech)
        power = speech.square().mean(1, keepdim=True).clamp(min=LEAST_POWER)
        level = amplitude(uniform(*self.level_db, n_streams, generator))
        word_power = waveform.square().mean(1, keepdim=True).clamp(min=LEAST_POWER)
        below = amplitude(-uniform(*self.speech_snr_db, n_streams, generator)) * word_power.sqrt()
        has_speech = torch.rand(n_streams, 1, generator=generator, device=waveform.device)
        has_speech = ~with_words | (has_speech < self.speech_share)
        # Without keywords mostly speech alone: every second stream keeps its words.
        keeps = torch.rand(n_streams, 1, generator=generator, device=waveform.device) < 0.5
        waveform = waveform * (with_words | keeps & ~has_alarm)
        return waveform + speech / power.sqrt() * torch.where(with_words, below, level) * has_speech

    def _with_alarms(self, speech: Tensor, generator: Generator) -> Tensor:
        """Continuous speech (S, L), in each a clip of a false alarm, as loud, in the place of a part."""
        n_streams, length = speech.shape
        drawn = random_integers(0, len(self.alarm_samples) - 1, n_streams, generator)
        starts, samples = self.alarm_starts[drawn, None], self.alarm_samples[drawn, None]
        before = torch.rand(n_streams, 1, generator=generator, device=speech.device)
        before = (before * (length - samples + 1)).long()
        inside = torch.arange(length, device=speech.device) - before  # (S, L) samples of the clip
        edge = torch.minimum(inside + 1, samples - inside)
        weight = (edge / self.fade).clamp(0, 1)
        alarms = self.alarms[(starts + inside).clamp(0, len(self.alarms) - 1)].float() / INT16_SCALE
        power = (alarms.square() * (edge > 0)).sum(1, keepdim=True) / samples
        as_loud = (speech.square().mean(1, keepdim=True) / power.clamp(min=LEAST_POWER)).sqrt()
        return speech + weight * (as_loud * alarms - speech)

    def score(self, logits: Tensor, streams: Streams, progress: float) -> StreamScores:
        """What the answers (S, K, F) are worth; the loss is `missed + false_alarms`.

        Args:
            progress: 0 at the beginning of the training, 1 at its end.
        """
        scores = functional.log_softmax(logits, dim=1)
        frames = torch.arange(logits.shape[2], device=logits.device)
        ends, wanted = streams.ends[:, :, None], (streams.targets >= 0)[:, :, None]
        due = (frames >= ends - self.early) & (frames <= ends + self.late) & wanted  # (S, P, F)
        masked = (frames >= streams.starts[:, :, None]) & (frames < ends + self.masked) & wanted
        own = scores.gather(1, streams.targets.clamp(min=0)[:, :, None].expand(due.shape))
        best = own.masked_fill(~due, -torch.inf).amax(2)[wanted.squeeze(2)]
        missed = -best.mean() if len(best) else scores.sum() * 0

        none = scores[:, ~self.is_keyword].logsumexp(1)  # (S, F)
        alarm = -none.masked_fill(masked.any(1), 0)
        hardest = functional.max_pool1d(alarm[:, None], self.apart).squeeze(1)
        false_alarms = hardest.topk(min(self.hard_frames, hardest.shape[1])).values.mean()
        begin, end = self.negative_weight
        false_alarms = (begin + (end - begin) * progress) * false_alarms
        found = (best.detach() > LOG_HALF).float().sum() / max(len(best), 1)
        return StreamScores(missed, false_alarms, found, len(best))


def packed(
    folders: str | Sequence[str] | None,
    cache: Path,
    sample_rate: int,
    seconds: float | None = None,
    spellings: Mapping[str, set[str]] | None = None,
) -> PackedRecordings:
    """The recordings of no, one or several folders, but those that say a word of `spellings`; see `read_recordings`."""
    found = find_recordings([folders] if isinstance(folders, str) else folders or [])
    if spellings:
        found = without_keywords(found, spellings)
    if not found:
        return PackedRecordings(np.zeros(0, np.int16), [], "")
    return pack_recordings(found, cache, sample_rate, seconds)


def active_frames(clips: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """First and last frame of the word in each clip (B, T), by its energy; (B,) each."""
    power = clips.unfold(1, hop, hop).square().mean(2).clamp(min=LEAST_POWER)
    level = 10 * power.log10()  # (B, F)
    loudest = level.amax(1, keepdim=True)
    floor = level.quantile(FLOOR_QUANTILE, dim=1, keepdim=True)
    border = torch.maximum(loudest - WORD_RANGE_DB, floor + WORD_SHARE * (loudest - floor))
    active = (level >= border).int()
    last = active.shape[1] - 1 - active.flip(1).argmax(1)
    return active.argmax(1), last
