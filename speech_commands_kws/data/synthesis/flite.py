"""Voices of flite by ctypes, where its library is installed (Debian: libflite1).

Structures, functions and features are those of flite 2's `flite.h`, `cst_wave.h`, `cst_voice.h` and `cst_features.h`.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from speech_commands_kws.data.synthesis.language import ENGLISH
from speech_commands_kws.errors import KwsError, check_number, check_range, check_texts

LIBRARY = "libflite.so.1"
OTHER_LIBRARIES = ("libflite_usenglish.so.1", "libflite_cmulex.so.1")
VOICE = "cmu_us_{}"
# The features of a voice.
STRETCH, MEAN_HZ = b"duration_stretch", b"int_f0_target_mean"
LOWEST_HZ, HIGHEST_HZ = 50, 500


class Wave(ctypes.Structure):
    """`cst_wave`."""

    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_short)),
    ]


class VoiceHead(ctypes.Structure):
    """The beginning of `cst_voice`."""

    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]


@dataclass(frozen=True)
class FliteVoice:
    """A speaker: a voice of flite, and the mean of its fundamental frequency."""

    name: str
    pitch_hz: float


@dataclass(frozen=True)
class FliteVoices:
    """Speakers made of the American English voices of flite.

    Args:
        names: of the voices: slt, rms, awb, kal16.
        pitch_hz: lowest and highest of a uniform draw for each speaker; the voice rms keeps its own.
        pitch_jitter: how far a take may be from the speaker's pitch, as a share.
    """

    languages: ClassVar[Sequence[str]] = (ENGLISH,)

    names: Sequence[str]
    pitch_hz: Sequence[float]
    pitch_jitter: float

    def __post_init__(self) -> None:
        check_texts(names=self.names)
        check_range(LOWEST_HZ, HIGHEST_HZ, pitch_hz=self.pitch_hz)
        check_number(0, 0.5, pitch_jitter=self.pitch_jitter)

    def origin(self) -> str:
        load(LIBRARY)
        return "flite 2 of libflite1 (BSD-like)"

    def cast(self, number: int, generator: np.random.Generator) -> FliteVoice:
        return FliteVoice(str(generator.choice(self.names)), generator.uniform(*self.pitch_hz))

    def say(
        self, text: str, voice: FliteVoice, speed: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, int]:
        pitch_hz = voice.pitch_hz * (1 + self.pitch_jitter * generator.uniform(-1, 1))
        flite, spoken_by = self.library, self.speakers[voice.name]
        features = VoiceHead.from_address(spoken_by).features
        flite.feat_set_float(features, STRETCH, 1 / speed)
        flite.feat_set_float(features, MEAN_HZ, pitch_hz)
        wave = flite.flite_text_to_wave(text.encode(), spoken_by)
        said = np.ctypeslib.as_array(wave.contents.data, (wave.contents.samples,))
        waveform = said.astype(np.float32) / -float(np.iinfo(np.int16).min)
        rate = wave.contents.sample_rate
        flite.delete_wave(wave)
        return waveform, rate

    @cached_property
    def library(self) -> Any:
        library = load(LIBRARY)
        for name in OTHER_LIBRARIES:
            load(name)
        library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        library.flite_text_to_wave.restype = ctypes.POINTER(Wave)
        library.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        library.feat_set_float.restype = None
        library.flite_init()
        return library

    @cached_property
    def speakers(self) -> dict[str, int]:
        """The address of each voice."""
        addresses = {}
        for name in self.names:
            register = getattr(
                load(f"libflite_{VOICE.format(name)}.so.1"), f"register_{VOICE.format(name)}"
            )
            register.argtypes, register.restype = [ctypes.c_void_p], ctypes.c_void_p
            addresses[name] = register(None)
        return addresses


def load(name: str) -> ctypes.CDLL:
    """A library of flite; the later ones use symbols of the earlier."""
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise KwsError(
            f"expected {name} of flite, found none ({error}): apt install libflite1, or do without its voices "
            "(data.source.shares.flite=0)"
        ) from None
