"""Many people out of the one neural voice of hibari-tts (Apache-2.0), an optional package.

Its network predicts the fundamental frequency apart from the log magnitudes and phases of harmonics, noise and a rest
of free phase, for each frame of 12.5 ms; a vocoder makes sound of them. Between the two, a person gets a pitch, a
melody, formants, a spectral tilt and breath of its own. espeak-ng says how a word is pronounced.

Legend: K frequency bins, F frames.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from speech_commands_kws.audio.levels import amplitude
from speech_commands_kws.data.synthesis.espeak import Espeak
from speech_commands_kws.data.synthesis.language import ENGLISH
from speech_commands_kws.errors import (
    KwsError,
    check_number,
    check_range,
    check_texts,
)

if TYPE_CHECKING:
    from hibari import Hibari

# The network has the phonemes of Kokoro-82M, American English. The nearest to those of espeak-ng in any accent: whole
# ones, then symbols.
NEAREST = {
    **{"oʊ": "O", "əʊ": "O", "ʌʊ": "O", "oː": "O", "aʊ": "W", "ʌʉ": "W", "æʊ": "W", "aɪ": "I"},
    **{"aɪə": "Iə", "aɪɚ": "Iəɹ", "ɔɪ": "Y", "oɪ": "Y", "eɪ": "A", "eː": "A", "ei": "i", "əu": "u"},
    **{"aː": "ɑ", "a:": "ɑ", "aa": "ɑ", "ɑə": "ɑɹ", "eə": "ɛɹ", "ɛə": "æ", "iə": "ɪə", "oə": "ɔɹ"},
    **{"ɔə": "ɔɹ", "ʊə": "ʊɹ", "ɜ": "əɹ", "ɜː": "ɜɹ", "əɪ": "ɜɹ", "ʌɹ": "ɜɹ", "əl": "ᵊl"},
    **{"n̩": "ᵊn", "ɾ": "T", "tʃ": "ʧ", "dʒ": "ʤ"},
}
SYMBOLS = str.maketrans(
    {"ɐ": "ə", "ᵻ": "ɪ", "ʉ": "u", "ɒ": "ɑ", "a": "æ", "e": "ɛ", "o": "ɔ", "ɚ": "əɹ", "r": "ɹ"}
    | {"g": "ɡ", "ʔ": "t", "ʍ": "w", "ː": None, "\u032a": None, "ʲ": None}
)
SPOKEN = frozenset("AIOTWYbdfhijklmnpstuvwzðŋɑɔəɛɜɡɪɹʃʊʌʒʤʧθᵊæ")
STRESSES = "ˈˌ"
STRESSED_VOWEL = re.compile("(?<=[ˈˌ])([^aeiouAIOWYæɑɔəɛɜɪʊʌ]*[AIOWYiuæɑɔəɛɜɪʊʌ])")
LONG = "ː"
WORD_AND_MARK = re.compile(r"([^\s.,;:!?]+)([.,;:!?]?)")
SENTENCE_ENDS = ".!?"
MOST_PHONEMES = 300  # in one run of the network
# The speeds that the network takes.
SLOWEST, FASTEST = 0.5, 2.0
HIGHEST_HZ, MOST_SPREAD = 500, 0.4
LOWEST_HZ = 60.0  # what the network says below is not voiced
MOST_EXCURSION = 0.5  # of the natural logarithm of the frequency, about its median
# The formants of the lower factor lie below the first, those of the higher one above the second.
FORMANTS_HZ = (500.0, 4000.0)
TILT_FROM_HZ, TILT_ABOUT_HZ = 250.0, 1000.0
SILENT = -20.0  # as a log magnitude


@dataclass(frozen=True)
class HibariVoice:
    """A person: `formants` are the factors of low and high ones; the rest as of `HibariVoices`."""

    accent: str
    pitch_hz: float
    melody: float
    formants: tuple[float, float]
    tilt_db: float
    breath_db: float


@dataclass(frozen=True)
class HibariVoices:
    """People made of the voice; pairs are the lowest and highest of a uniform draw for each of them.

    Args:
        accents: languages of espeak-ng, whose phonemes are spoken.
        pitch_hz: median fundamental frequency, drawn by its logarithm.
        melody: factor of the rise and fall of the pitch about its median, by its logarithm.
        formants: factor of the formants' frequencies.
        formant_spread: how far the factors of low and high formants may be from that.
        tilt_db: change of the spectrum in dB an octave; below 0 a softer voice.
        breath_db: level of noise shaped like the voice, against the voice.
        pitch_jitter: how far a take may be from the speaker's pitch, as a share.
        endings: punctuation marks, one of which is behind each word spoken alone; they change its melody and rhythm.
        lengthened: share of words spoken alone with a long vowel.
    """

    languages: ClassVar[Sequence[str]] = (ENGLISH,)

    accents: Sequence[str]
    pitch_hz: Sequence[float]
    melody: Sequence[float]
    formants: Sequence[float]
    formant_spread: float
    tilt_db: Sequence[float]
    breath_db: Sequence[float]
    pitch_jitter: float
    endings: Sequence[str]
    lengthened: float

    def __post_init__(self) -> None:
        check_texts(accents=self.accents, endings=self.endings)
        check_range(LOWEST_HZ, HIGHEST_HZ, pitch_hz=self.pitch_hz)
        check_range(0, 3, melody=self.melody)
        check_range(0.5, 2, formants=self.formants)
        check_range(tilt_db=self.tilt_db, breath_db=self.breath_db)
        check_number(0, MOST_SPREAD, formant_spread=self.formant_spread)
        check_number(0, MOST_SPREAD, pitch_jitter=self.pitch_jitter)
        check_number(0, 1, lengthened=self.lengthened)

    def origin(self) -> str:
        if find_spec("hibari") is None:
            raise KwsError(
                'the voices of hibari-tts are not installed: pip install "speech-commands-kws[synthetic]", or do '
                "without them (data.source.shares.hibari=0)"
            )
        return f"hibari-tts {version('hibari-tts')} (Apache-2.0)"

    def cast(self, number: int, generator: np.random.Generator) -> HibariVoice:
        size = generator.uniform(*self.formants)
        low, high = size + self.formant_spread * generator.uniform(-1, 1, 2)
        return HibariVoice(
            accent=str(generator.choice(self.accents)),
            pitch_hz=float(np.exp(generator.uniform(*np.log(self.pitch_hz)))),
            melody=generator.uniform(*self.melody),
            formants=(float(low), float(high)),
            tilt_db=generator.uniform(*self.tilt_db),
            breath_db=generator.uniform(*self.breath_db),
        )

    def say(
        self, text: str, voice: HibariVoice, speed: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, int]:
        ending, is_long = str(generator.choice(self.endings)), generator.random() < self.lengthened
        pitch_hz = voice.pitch_hz * (1 + self.pitch_jitter * generator.uniform(-1, 1))
        runs = list(self._runs(text, voice.accent))
        if len(text.split()) == 1 and runs:
            runs = [STRESSED_VOWEL.sub(rf"\1{LONG}", runs[0], count=1) if is_long else runs[0]]
            runs[0] += ending
        spoken = [self._speak(run, voice, pitch_hz, speed, generator) for run in runs]
        return np.concatenate([np.zeros(0, np.float32), *spoken]), self.hibari.sample_rate

    @cached_property
    def hibari(self) -> "Hibari":
        from hibari import Hibari

        return Hibari()

    @cached_property
    def espeak(self) -> Espeak:
        return Espeak()

    def _runs(self, text: str, accent: str) -> Iterator[str]:
        """The phonemes of a text, in parts that the network takes at once."""
        run = ""
        for word, mark in WORD_AND_MARK.findall(text):
            run += " " * bool(run) + self._phonemes(word, accent) + mark
            if len(run) > MOST_PHONEMES or mark and mark in SENTENCE_ENDS:
                yield run
                run = ""
        if run:
            yield run

    def _phonemes(self, word: str, accent: str) -> str:
        spoken = "".join(map(american, self.espeak.phonemes(word, accent)))
        if not set(spoken) <= SPOKEN | set(STRESSES):
            raise KwsError(
                f"hibari-tts speaks English alone, not {word!r} in the accent {accent}: do without it "
                "(data.source.shares.hibari=0)"
            )
        return spoken

    def _speak(
        self,
        phonemes: str,
        voice: HibariVoice,
        pitch_hz: float,
        speed: float,
        generator: np.random.Generator,
    ) -> np.ndarray:
        from hibari import dsp

        ids = np.array([self.hibari.ids(phonemes)], np.int64)
        speeds = np.array([min(max(speed, SLOWEST), FASTEST)], np.float32)
        parts = (part[0] for part in self.hibari.sess.run(None, {"ids": ids, "speed": speeds}))
        *spectra, frequency = parts
        bin_hz = dsp.SR / dsp.N_FFT
        spectra = reshaped(*spectra, frequency > LOWEST_HZ, voice, bin_hz)
        return dsp.synth(*spectra, intoned(frequency, pitch_hz, voice.melody), generator)


def american(phoneme: str) -> str:
    """A phoneme of espeak-ng as the network knows it, with its stress; unknown symbols stay as they are."""
    plain = phoneme.lstrip(STRESSES)
    return phoneme[: -len(plain)] + NEAREST.get(plain, plain.translate(SYMBOLS))


def reshaped(
    harmonic: np.ndarray,
    harmonic_phase: np.ndarray,
    noise: np.ndarray,
    free: np.ndarray,
    free_phase: np.ndarray,
    voiced: np.ndarray,
    voice: HibariVoice,
    bin_hz: float,
) -> tuple[np.ndarray, ...]:
    """The spectra of another person's throat and mouth, in the same order.

    The free part holds what is left of the old pitch: in voiced frames it becomes noise.

    Args:
        harmonic, noise, free: log magnitudes (K, F) of harmonics, noise and the part of free phase.
        harmonic_phase, free_phase: (K, F).
        voiced: (F,), which frames have a pitch.
    """
    hz = bin_hz * np.arange(len(harmonic))
    place = np.interp(np.log(np.maximum(hz, 1)), np.log(FORMANTS_HZ), (0, 1))
    low, high = voice.formants
    source = np.rint(np.arange(len(hz)) / (low + place * (high - low)))
    source = np.minimum(source, len(hz) - 1).astype(int)
    octaves = np.log2(np.maximum(hz, TILT_FROM_HZ) / TILT_ABOUT_HZ)[:, None]
    tilt = np.log(amplitude(voice.tilt_db)) * octaves
    harmonic, noise, free = (part[source] + tilt for part in (harmonic, noise, free))
    breath = harmonic + np.log(amplitude(voice.breath_db))
    noise = np.logaddexp(noise, breath)
    noise = np.where(voiced, np.logaddexp(noise, free), noise)
    free = np.where(voiced, SILENT, free)
    parts = harmonic, harmonic_phase[source], noise, free, free_phase[source]
    return tuple(part.astype(np.float32) for part in parts)


def intoned(frequency: np.ndarray, pitch_hz: float, melody: float) -> np.ndarray:
    """The pitch curve (F,) in Hz moved to the median `pitch_hz`, its excursions by the factor `melody`; 0 unvoiced."""
    voiced = frequency > LOWEST_HZ
    if not voiced.any():
        return frequency
    octaves = np.log(np.maximum(frequency, LOWEST_HZ))
    excursion = np.clip(octaves - np.median(octaves[voiced]), -MOST_EXCURSION, MOST_EXCURSION)
    return np.where(voiced, pitch_hz * np.exp(melody * excursion), 0).astype(np.float32)
