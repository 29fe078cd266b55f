"""Augmentation of whole batches on their device, one module per effect."""

from speech_commands_kws.augment.recipe import (
    NoSpectrogramAugment,
    NoWaveformAugment,
    ShiftAndNoise,
    SpecAugment,
)

__all__ = ["NoSpectrogramAugment", "NoWaveformAugment", "ShiftAndNoise", "SpecAugment"]
