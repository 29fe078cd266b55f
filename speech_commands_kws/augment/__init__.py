"""Augmentation of whole batches on the device where they lie, one module for each effect."""

from speech_commands_kws.augment.recipe import (
    NoSpectrogramAugment,
    NoWaveformAugment,
    ShiftAndNoise,
    SpecAugment,
)

__all__ = ["NoSpectrogramAugment", "NoWaveformAugment", "ShiftAndNoise", "SpecAugment"]
