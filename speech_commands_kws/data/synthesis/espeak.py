"""espeak-ng by ctypes, as the optional package espeakng-loader (GPL-3.0) brings it.

Constants are those of espeak-ng's `speak_lib.h`. The library keeps global state: the samples of a
word depend slightly on what the process said before, so equal samples need a fresh process and the
same words in the same order. They also need a seed: espeak-ng seeds the breath of some voices with
the time of day.
"""

import ctypes
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from speech_commands_kws.errors import KwsError, check_range, check_texts, check_whole

AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
# For `espeak_TextToPhonemes`: the International Phonetic Alphabet, this between two phonemes.
PHONEME_SEPARATOR = "_"
PHONEMES_IPA = 2 | ord(PHONEME_SEPARATOR) << 8
POSITION_CHARACTER = 1
PARAMETER_RATE, PARAMETER_VOLUME, PARAMETER_PITCH, PARAMETER_RANGE = 1, 2, 3, 4
# Percent of the normal amplitude: at 100 the louder voices clip inside espeak-ng.
VOLUME = 20
SEED = 1
NORMAL_RATE = 175  # words a minute
# What espeak-ng speaks at; it silently clamps other values.
SLOWEST_RATE, FASTEST_RATE = 80, 450
LOWEST, HIGHEST = 0, 100  # of pitch and pitch range
# Every tenth variant from one of the first ten on is of one split.
LEAST_VARIANTS = 10
# espeak-ng copies the path of its data into a buffer of 160 bytes and fails on longer ones.
MAX_DATA_PATH_BYTES = 150
SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """How to speak: `accent` is an espeak-ng language, `variant` the timbre, a file of `voices/!v`.

    `pitch` and `pitch_range` go from 0 to 100 (50 is the variant's own), `rate` is in words per
    minute.
    """

    accent: str
    variant: str
    pitch: int
    pitch_range: int
    rate: int


@dataclass(frozen=True)
class EspeakVoices:
    """The voices of espeak-ng; pairs are the lowest and highest of a uniform draw for each speaker.

    Args:
        variants: timbres, at least ten. Every speaker whose number ends in some digit has the voice of a variant whose
            number ends in it.
        accents: languages of espeak-ng.
        pitch, pitch_range: 0 to 100, 50 is the variant's own.
        pitch_jitter: how far a take may be from the speaker's pitch.
    """

    variants: Sequence[str]
    accents: Sequence[str]
    pitch: Sequence[int]
    pitch_range: Sequence[int]
    pitch_jitter: int

    def __post_init__(self) -> None:
        check_texts(variants=self.variants, accents=self.accents)
        check_whole(LEAST_VARIANTS, variants=len(self.variants))
        check_whole(0, pitch_jitter=self.pitch_jitter)
        check_range(LOWEST, HIGHEST, pitch=self.pitch, pitch_range=self.pitch_range)

    def origin(self) -> str:
        require_espeak()
        return f"espeak-ng of espeakng-loader {version('espeakng-loader')} (GPL-3.0-or-later)"

    def cast(self, number: int, generator: np.random.Generator) -> Voice:
        row, column = divmod(number, LEAST_VARIANTS)
        alike = self.variants[column::LEAST_VARIANTS]
        return Voice(
            accent=str(generator.choice(self.accents)),
            variant=alike[row % len(alike)],
            pitch=round(generator.uniform(*self.pitch)),
            pitch_range=round(generator.uniform(*self.pitch_range)),
            rate=NORMAL_RATE,
        )

    def say(
        self, text: str, voice: Voice, speed: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, int]:
        pitch = voice.pitch + self.pitch_jitter * generator.uniform(-1, 1)
        rate = min(max(round(voice.rate * speed), SLOWEST_RATE), FASTEST_RATE)
        taken = replace(voice, pitch=min(max(round(pitch), LOWEST), HIGHEST), rate=rate)
        return self.engine.say(text, taken), self.engine.sample_rate

    @cached_property
    def engine(self) -> "Espeak":
        return Espeak()


def require_espeak() -> None:
    """Raise KwsError where espeakng-loader is not installed."""
    if find_spec("espeakng_loader") is None:
        raise KwsError(
            "synthetic speech is spoken by espeak-ng, which is not installed: "
            'pip install "speech-commands-kws[synthetic]", or train on recordings '
            "(data=speech_commands)"
        )


class Espeak:
    """The engine. Waveforms have `sample_rate` Hz, float32 in -1 to 1, mono."""

    def __init__(self) -> None:
        require_espeak()
        import espeakng_loader

        self.data_path = Path(espeakng_loader.get_data_path())
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.text_to_phonemes = self.library.espeak_TextToPhonemes
        self.text_to_phonemes.restype = ctypes.c_char_p
        # ctypes does not keep the callback alive, the attribute does.
        self.callback = SYNTH_CALLBACK(self._receive)
        self.pieces: list[np.ndarray] = []
        self.sample_rate = self._start()

    def say(self, text: str, voice: Voice) -> np.ndarray:
        """Speak `text`.

        Shape: float32 (T,) at `sample_rate`; empty where espeak-ng finds nothing to say.
        Raises KwsError for an accent or a variant that espeak-ng does not have.
        """
        self._set_voice(voice)
        self.pieces.clear()
        # Another engine of this process may have taken the library's only callback.
        self.library.espeak_SetSynthCallback(self.callback)
        encoded = text.encode()
        size = ctypes.c_size_t(len(encoded) + 1)
        self.library.espeak_Synth(encoded, size, 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self.pieces])
        return samples.astype(np.float32) / -float(np.iinfo(np.int16).min)

    def phonemes(self, text: str, accent: str) -> list[str]:
        """How `text` is said in an accent: phonemes of the International Phonetic Alphabet, with stress and length.

        Raises KwsError for an accent that espeak-ng does not have.
        """
        self._set_accent(accent)
        remaining = ctypes.c_char_p(text.encode())
        spoken: list[str] = []
        # A call takes one clause, and leaves the pointer behind it.
        while remaining.value:
            part = self.text_to_phonemes(ctypes.byref(remaining), CHARS_UTF8, PHONEMES_IPA)
            spoken += part.decode().replace(" ", PHONEME_SEPARATOR).split(PHONEME_SEPARATOR)
        return [phoneme for phoneme in spoken if phoneme]

    def _start(self) -> int:
        path = os.fsencode(self._short_data_path())
        rate = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, path, INITIALIZE_DONT_EXIT
        )
        if rate <= 0:
            raise KwsError(
                f"espeak-ng did not start from {self.data_path}: reinstall espeakng-loader"
            )
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        # Found through the library: the C library's own generator, which espeak-ng uses as well.
        self.library.srand(SEED)
        return rate

    def _short_data_path(self) -> Path:
        if len(os.fsencode(self.data_path)) <= MAX_DATA_PATH_BYTES:
            return self.data_path
        # Read from for as long as the engine lives.
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        link = Path(folder) / "data"
        link.symlink_to(self.data_path, target_is_directory=True)
        return link

    def _set_voice(self, voice: Voice) -> None:
        # An unknown variant is silently replaced by the plain voice, hence the look at the file.
        if not (self.data_path / "voices" / "!v" / voice.variant).is_file():
            raise KwsError(f"espeak-ng has no voice {voice.variant!r}: see its folder voices/!v")
        self._set_accent(voice.accent, f"+{voice.variant}")
        # After the voice, because setting the voice may reset them.
        self.library.espeak_SetParameter(PARAMETER_VOLUME, VOLUME, 0)
        self.library.espeak_SetParameter(PARAMETER_PITCH, voice.pitch, 0)
        self.library.espeak_SetParameter(PARAMETER_RANGE, voice.pitch_range, 0)
        self.library.espeak_SetParameter(PARAMETER_RATE, voice.rate, 0)

    def _set_accent(self, accent: str, variant: str = "") -> None:
        if self.library.espeak_SetVoiceByName(f"{accent}{variant}".encode()) != 0:
            raise KwsError(f"espeak-ng has no accent {accent!r}: name a language such as en-us")

    def _receive(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0
