from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from speech_commands_kws.augment.mixup import Mixup
from speech_commands_kws.augment.recipe import NoSpectrogramAugment, NoWaveformAugment
from speech_commands_kws.training.module import KeywordModule

BATCH, SAMPLES, CLASSES = 8, 50, 3
WAVEFORM = torch.randn(BATCH, SAMPLES, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(BATCH) % CLASSES


class Spotter(nn.Module):
    """A linear classifier of the waveform itself."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.frontend = SimpleNamespace(by_fft=lambda waveform: waveform)
        self.backbone = nn.Linear(SAMPLES, CLASSES)


def step(mixup, monkeypatch) -> tuple[KeywordModule, float]:
    module = KeywordModule(
        Spotter(),
        NoWaveformAugment(),
        NoSpectrogramAugment(),
        optimizer=None,
        scheduler=None,
        total_steps=1,
        label_smoothing=0.1,
        silence_target=-1,
        seed=0,
        facts={},
        mixup=mixup,
    )
    monkeypatch.setattr(module, "_log_scores", lambda *_: None)
    return module, module.training_step((WAVEFORM, TARGETS), batch_idx=5).item()


def test_without_mixup_the_loss_is_the_cross_entropy_of_the_classes(monkeypatch):
    module, loss = step(None, monkeypatch)
    logits = module.spotter.backbone(WAVEFORM)
    assert loss == functional.cross_entropy(logits, TARGETS, label_smoothing=0.1).item()


def test_with_mixup_it_is_that_of_both_classes_by_their_weights(monkeypatch):
    mixup = Mixup({1: 1.0}, 0.5, 1, CLASSES)
    module, loss = step(mixup, monkeypatch)
    mixed, soft = mixup(WAVEFORM, TARGETS, module.seed_step(5))
    assert not torch.equal(mixed, WAVEFORM)
    log_probabilities = module.spotter.backbone(mixed).log_softmax(1)
    smooth = 0.9 * soft + 0.1 / CLASSES
    assert loss == pytest.approx(-(smooth * log_probabilities).sum(1).mean().item(), rel=1e-5)
