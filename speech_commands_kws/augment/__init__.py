"""Augmentation of whole batches on their device, and the names that `configs/augment` uses without a module."""

from speech_commands_kws.augment.recipe import (
    NoSpectrogramAugment,
    NoWaveformAugment,
    ShiftAndNoise,
    SpecAugment,
)

__all__ = ["NoSpectrogramAugment", "NoWaveformAugment", "ShiftAndNoise", "SpecAugment"]
