from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import FRONTEND

from speech_commands_kws.augment.chain import Chain
from speech_commands_kws.augment.level import Gain, Shift
from speech_commands_kws.augment.mixup import Mixup
from speech_commands_kws.augment.recipe import NoSpectrogramAugment, NoWaveformAugment, SpecAugment
from speech_commands_kws.figures import augmentation
from speech_commands_kws.models.frontend import LogMel

CLIP = 0.1 * torch.sin(torch.arange(16000) / 3)
OTHER = 0.1 * torch.sin(torch.arange(16000) / 30)


def module_with(waveform, spectrogram, mixup=None):
    spotter = SimpleNamespace(frontend=LogMel(**FRONTEND))
    return SimpleNamespace(
        spotter=spotter,
        waveform_augment=waveform,
        spectrogram_augment=spectrogram,
        mixup=mixup,
        seed=0,
    )


def test_each_augmentation_is_shown_alone_at_its_strongest():
    steps = {"gain": Gain(0.1, (0, 12)), "shift": Shift(0.1, 100, 16000)}
    module = module_with(Chain(steps), SpecAugment(2, 20, 2, {1: 5}, 1), Mixup({1: 0.5}, 0.5, 1, 2))
    found = {clip.name: clip for clip in augmentation.examples(module, CLIP, OTHER)}
    assert list(found) == [
        *("clip", "gain", "shift", "mixup", "SpecAugment"),
        *("all together 1", "all together 2", "all together 3"),
    ]
    clip = found["clip"].waveform
    gain = abs(found["gain"].waveform).max() / abs(clip).max()
    assert 1.5 < gain < 4, "the strongest of four from 0 to 12 dB"
    assert np.count_nonzero(found["shift"].waveform) < np.count_nonzero(clip)
    mixed = torch.from_numpy(found["mixup"].waveform)
    weights = torch.linalg.lstsq(torch.stack([CLIP, OTHER], dim=1), mixed[:, None]).solution
    assert weights.sum().item() == pytest.approx(1, abs=1e-3) and weights[1] > 0.2
    assert (found["SpecAugment"].log_mel == 0).sum() > 500
    assert found["clip"].log_mel.shape == (40, 101)


def test_without_augmentation_there_is_only_the_clip_itself():
    module = module_with(NoWaveformAugment(), NoSpectrogramAugment())
    for clip in augmentation.examples(module, CLIP, OTHER):
        assert (clip.waveform == CLIP.numpy()).all()


def test_frequencies_stand_at_their_mel_bins(monkeypatch, tmp_path):
    monkeypatch.setattr(augmentation, "save", lambda figure, *_: figure)
    module = module_with(NoWaveformAugment(), NoSpectrogramAugment())
    clips = augmentation.examples(module, CLIP, OTHER)[:3]
    figure = augmentation.plot_augmentations(clips, FRONTEND, "about", tmp_path / "a.png")
    above, below = figure.axes[0], figure.axes[4]
    assert above.get_title(loc="left") == "clip"
    ticks = {tick.get_text(): tick.get_position()[1] for tick in below.get_yticklabels()}
    assert ticks["1"] == 1000
    # The tone, 16000 / 3 / 2 pi = 849 Hz, is the brightest row.
    image = below.collections[0]
    brightest = image.get_array().reshape(40, -1).mean(axis=1).argmax()
    low, high = image.get_coordinates()[[brightest, brightest + 1], 0, 1]
    assert low < 849 < high and high - low < 120
    assert not figure.axes[3].axison


def test_it_becomes_a_png(tmp_path):
    module = module_with(NoWaveformAugment(), NoSpectrogramAugment())
    clips = augmentation.examples(module, CLIP, OTHER)
    path = augmentation.plot_augmentations(clips, FRONTEND, "", tmp_path / "a.png")
    assert path.stat().st_size > 1000
