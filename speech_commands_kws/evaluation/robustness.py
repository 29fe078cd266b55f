"""A model's accuracy in noise, in rooms and at other levels. All is drawn from a seed; ONNX models need no torch.

Legend: N clips, B batch, T samples, S signal-to-noise ratios.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from speech_commands_kws.audio.levels import amplitude, amplitude_for_snr
from speech_commands_kws.audio.noise_recordings import noise_holdout, read_noises
from speech_commands_kws.audio.room_acoustics import convolve, room_responses
from speech_commands_kws.data.dataset import SplitClips
from speech_commands_kws.errors import check_number, check_positive, check_whole
from speech_commands_kws.evaluation.metrics import wilson_interval
from speech_commands_kws.evaluation.scoring import Predict, Scores
from speech_commands_kws.labels import SILENCE

# Ends the seed of rooms: a training's seed is one number, and never gives the same rooms.
UNLIKE_TRAINING = 1
WHITE, BABBLE = "white, made here", "babble, made here"
LEVEL = "level"

# What is done to clips (N, T) before they are classified.
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Robustness:
    """What is tried. Words alone are: no signal-to-noise ratio says how loud silence is.

    Each kind of noise, each room and the levels get clips of their own, so that means over the kinds rest on many more
    clips than a single figure does.

    Attributes:
        clips: so many for each kind of noise, room or level; 0 takes all.
        snr_db: ratios of the mean powers of clip and noise (decibel).
        held_out: share of each noise recording, at its end, that is used: what `augment.noise_held_out` keeps from
            training.
        noise_folder: recordings that are tried beside the data's own; each folder in it counts as one kind of noise.
        babble_voices: number of clips that are played backwards at once, for babble without words.
        rt60_seconds: reverberation times of the rooms that are tried.
        rooms: further arguments of `room_acoustics.room_responses`, for each of these times.
        gain_db: how much louder or quieter clips are made (decibel), never beyond full scale.
        seed: of all drawing.
    """

    clips: int
    snr_db: Sequence[float]
    held_out: float
    noise_folder: str | None
    babble_voices: int
    rt60_seconds: Sequence[float]
    rooms: Mapping[str, Any]
    gain_db: Sequence[float]
    seed: int

    def __post_init__(self) -> None:
        check_whole(0, clips=self.clips, seed=self.seed)
        check_whole(babble_voices=self.babble_voices)
        check_number(0, 1, held_out=self.held_out)
        check_positive(held_out=self.held_out)

    def measure(
        self,
        predict: Predict,
        clips: SplitClips,
        scores: Scores,
        sample_rate: int,
        batch_size: int,
        heard: bool,
        watch: Callable[[Iterable, int], Iterable],
    ) -> dict[str, Any] | None:
        """Accuracies as JSON-able values, or None where there is no clip of a word.

        Args:
            predict: waveforms (B, T) to probabilities (B, K).
            scores: of the same clips without noise.
            heard: the model was trained on all of the data's own noise.
            watch: may wrap the trials, of which it is told the number, to show progress.
        """
        silence = scores.labels.index(SILENCE) if SILENCE in scores.labels else -1
        words = np.flatnonzero(scores.targets != silence)
        if not len(words):
            return None
        recordings = self.recordings(clips, sample_rate)
        changes = self.changes(recordings, sample_rate)
        chosen = {name: self.choose(name, words) for name, _ in changes}
        cells = {}
        for (name, amount), change in watch(changes.items(), len(changes)):
            waveforms = change(clips.waveforms(chosen[name]))
            parts = np.split(waveforms, range(batch_size, len(waveforms), batch_size))
            predictions = np.concatenate([predict(part).argmax(axis=1) for part in parts])
            right = np.sum(predictions == clips.targets[chosen[name]])
            cells[name, amount] = cell(int(right), len(predictions))
        by_snr = {
            name: [cells[name, snr_db] for snr_db in self.snr_db]
            for name in (*recordings, WHITE, BABBLE)
        }
        n_distinct = len(np.unique(np.concatenate([chosen[name] for name in by_snr])))
        own = data_noises(clips)
        return {
            "clips_of_each": max(map(len, chosen.values())),
            "seed": self.seed,
            "snr_db": list(self.snr_db),
            "clean": cell(
                int(np.sum(scores.predictions[words] == scores.targets[words])), len(words)
            ),
            "noises": {
                name: {"heard_in_training": heard and name in own, "by_snr": row}
                for name, row in by_snr.items()
            },
            "mean_by_snr": [
                mean(column, n_distinct) for column in zip(*by_snr.values(), strict=True)
            ],
            "rooms": [
                {"rt60_seconds": rt60} | cells[room_name(rt60), rt60] for rt60 in self.rt60_seconds
            ],
            "levels": [{"gain_db": gain_db} | cells[LEVEL, gain_db] for gain_db in self.gain_db],
        }

    def changes(
        self, recordings: Mapping[str, np.ndarray], sample_rate: int
    ) -> dict[tuple[str, float], Change]:
        """All that is tried, by its name and its amount: decibel or seconds."""
        found: dict[tuple[str, float], Change] = {}
        for name in (*recordings, WHITE, BABBLE):
            for snr_db in self.snr_db:
                found[name, snr_db] = partial(self.noisy, name, recordings.get(name), snr_db)
        for rt60 in self.rt60_seconds:
            found[room_name(rt60), rt60] = partial(self.in_rooms, rt60, sample_rate)
        for gain_db in self.gain_db:
            found[LEVEL, gain_db] = partial(louder, gain_db)
        return found

    def generator(self, name: str) -> np.random.Generator:
        """One for each kind of noise or room: what is drawn for one does not depend on the others."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def choose(self, name: str, words: np.ndarray) -> np.ndarray:
        """Indices of the clips that one kind of noise or room gets."""
        return np.sort(self.generator(name).permutation(words)[: self.clips or None])

    def recordings(self, clips: SplitClips, sample_rate: int) -> dict[str, np.ndarray]:
        """Recordings (samples,) of each kind of noise that is not made here."""
        parts = {
            name: noise_holdout(noise, self.held_out, sample_rate)
            for name, noise in data_noises(clips).items()
        }
        if self.noise_folder:
            for path, noise in read_noises(self.noise_folder, sample_rate, None).items():
                name = path.partition("/")[0] if "/" in path else Path(path).stem
                part = noise_holdout(noise, self.held_out, sample_rate)
                parts[name] = np.concatenate([parts.get(name, part[:0]), part])
        return parts

    def noisy(
        self, name: str, recording: np.ndarray | None, snr_db: float, words: np.ndarray
    ) -> np.ndarray:
        """Clips (N, T) in a kind of noise."""
        if name == WHITE:
            noise = self.generator(name).standard_normal(words.shape, dtype=np.float32)
        elif name == BABBLE:
            noise = babble(words, self.babble_voices, self.generator(name))
        else:
            noise = excerpts(recording, *words.shape, self.generator(name))
        return mix(words, noise, snr_db)

    def in_rooms(self, rt60: float, sample_rate: int, words: np.ndarray) -> np.ndarray:
        """Clips (N, T) in rooms with a reverberation time (seconds)."""
        seed = [self.seed, list(self.rt60_seconds).index(rt60), UNLIKE_TRAINING]
        responses = room_responses(
            **self.rooms, rt60_seconds=(rt60, rt60), sample_rate=sample_rate, seed=seed
        )
        return reverberate(words, responses)


def room_name(rt60_seconds: float) -> str:
    return f"{rt60_seconds:g} s"


def data_noises(clips: SplitClips) -> dict[str, np.ndarray]:
    """The data's background noise by the names of the files."""
    return {Path(path).stem: noise for path, noise in clips.noises.items()}


def cell(right: int, n_clips: int) -> dict[str, Any]:
    """Accuracy with its 95 % interval."""
    return {"accuracy": right / n_clips, "interval_95": list(wilson_interval(right, n_clips))}


def mean(column: Sequence[Mapping[str, Any]], n_clips: int) -> dict[str, Any]:
    """The mean of accuracies that rest on so many different clips in all."""
    share = float(np.mean([noise["accuracy"] for noise in column]))
    return cell(round(share * n_clips), n_clips) | {"accuracy": share}


def mix(waveforms: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """(N, T) clips with (N, T) noise at a ratio of mean powers (decibel); a sum above full scale is turned down."""
    powers = [np.mean(np.square(part), axis=1, keepdims=True) for part in (waveforms, noise)]
    return within_range(waveforms + noise * amplitude_for_snr(*powers, snr_db))


def louder(gain_db: float, waveforms: np.ndarray) -> np.ndarray:
    """(N, T) clips, louder by a gain (decibel), or quieter where it is negative."""
    return within_range(waveforms * np.float32(amplitude(gain_db)))


def within_range(waveforms: np.ndarray) -> np.ndarray:
    return waveforms / np.maximum(np.abs(waveforms).max(axis=1, keepdims=True), 1)


def excerpts(
    noise: np.ndarray, count: int, samples: int, generator: np.random.Generator
) -> np.ndarray:
    """(count, samples) excerpts of a recording; one that is shorter is repeated."""
    noise = np.resize(noise, max(len(noise), samples))
    starts = generator.integers(0, len(noise) - samples + 1, count)
    return np.stack([noise[start : start + samples] for start in starts])


def babble(waveforms: np.ndarray, voices: int, generator: np.random.Generator) -> np.ndarray:
    """Many voices at once for each of (N, T): clips drawn from all, equally loud, turned around and played backwards.

    Backwards, speech keeps its spectrum and its syllables and says no word.
    """
    n_clips, samples = waveforms.shape
    power = np.mean(np.square(waveforms), axis=1, keepdims=True)
    backwards = (waveforms / np.sqrt(np.maximum(power, np.finfo(np.float32).tiny)))[:, ::-1]
    total = np.zeros_like(waveforms)
    for _ in range(voices):
        chosen = backwards[generator.integers(0, n_clips, n_clips)]
        total += np.roll(chosen, generator.integers(0, samples), axis=1)
    return total


def reverberate(waveforms: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """(N, T) clips in (n, R) rooms, taken in turns."""
    in_turns = responses[np.arange(len(waveforms)) % len(responses)]
    return within_range(convolve(waveforms, in_turns).astype(np.float32))
