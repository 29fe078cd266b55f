from types import SimpleNamespace

import lightning
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from speech_commands_kws.augment.mixup import Mixup
from speech_commands_kws.augment.recipe import NoSpectrogramAugment, NoWaveformAugment
from speech_commands_kws.training.module import KeywordModule
from speech_commands_kws.training.streams import StreamScores

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

    def forward(self, waveform):
        return self.backbone(waveform)


def made(mixup=None) -> KeywordModule:
    return KeywordModule(
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


def step(mixup, monkeypatch) -> tuple[KeywordModule, float]:
    module = made(mixup)
    monkeypatch.setattr(module, "_log_mean", lambda *_: None)
    return module, module.training_step((WAVEFORM, TARGETS), batch_idx=5).item()


def test_torch_augments_on_one_thread_and_the_network_has_all(monkeypatch, set_threads):
    found = {}

    def note(name):
        def noted(waveform, *_):
            found[name] = torch.get_num_threads()
            return waveform

        return noted

    module = made()
    monkeypatch.setattr(module, "_log_mean", lambda *_: None)
    module.waveform_augment.forward = note("augmentation")
    module.spotter.frontend.by_fft = note("front-end")
    module.spotter.backbone.register_forward_pre_hook(lambda *_: note("network")(None))
    set_threads(2)
    module.training_step((WAVEFORM, TARGETS), batch_idx=0)
    assert found == {"augmentation": 1, "front-end": 1, "network": 2}


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


@pytest.fixture
def on_streams(monkeypatch) -> KeywordModule:
    """Hears a batch with three keywords of which one is found, one with one, and one without."""
    module = made()
    module.streams = nn.Identity()
    rows = iter([(3.0, 0.5, 1 / 3, 3), (1.0, 0.5, 1.0, 1), (0.0, 2.0, 0.0, 0)])

    def scores(*_, **__):
        *values, keywords = next(rows)
        return StreamScores(*map(torch.tensor, values), keywords)

    monkeypatch.setattr(module, "_score_streams", scores)
    return module


def test_streams_are_validated_by_keyword_and_not_by_batch(on_streams):
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)
    batches = DataLoader([(WAVEFORM, TARGETS)] * 3, batch_size=None)
    (measured,) = trainer.validate(on_streams, batches, verbose=False)
    missed, false_alarms = (3 * 3.0 + 1.0) / 4, (0.5 + 0.5 + 2.0) / 3
    assert measured["validation_loss"] == pytest.approx(missed + false_alarms)


def test_the_share_found_in_training_counts_as_often_as_there_are_keywords(on_streams, monkeypatch):
    told = []
    monkeypatch.setattr(on_streams, "_log_mean", lambda *given: told.append(given))
    for loss in (3.5, 1.5, 2.0):
        assert on_streams.training_step((WAVEFORM, TARGETS), 0).item() == loss
    found = [(value.item(), count) for name, value, count in told if name == "train_accuracy"]
    assert found == [(pytest.approx(1 / 3), 3), (1.0, 1), (0.0, 0)]
