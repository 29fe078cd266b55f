"""A trained run as the teacher of another: what is heard, what is learnt, and what cannot be one."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from tone_trainings import (
    answers_of,
    assert_an_interruption_changes_nothing,
    built,
    overrides,
    train,
)
from torch.nn import functional

from speech_commands_kws.assembly.resume import open_run
from speech_commands_kws.assembly.run_data import load_trained
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import load_spotter
from speech_commands_kws.training.distillation import Distillation

LABELS = ["_silence_", "_unknown_", "yes", "no"]
CLIP_SAMPLES = RATE = 16000


@pytest.fixture(scope="module")
def parent(tree, tmp_path_factory) -> Path:
    """The folder of a run that is somewhat larger."""
    return train(tree, tmp_path_factory.mktemp("parent"), "backbone.width=1.5")


@pytest.fixture
def checkpoint(parent) -> Path:
    return parent / "checkpoints" / "best.ckpt"


def teacher_of(checkpoint: Path, **changed: object) -> Distillation:
    given = {"labels": LABELS, "sample_rate": RATE, "clip_samples": CLIP_SAMPLES}
    return Distillation(checkpoint, **{"weight": 1.0, "temperature": 2.0} | given | changed)


def test_its_answers_are_in_the_order_of_the_labels_asked_for(checkpoint):
    waveform = torch.randn(3, CLIP_SAMPLES, generator=torch.Generator().manual_seed(0)) / 10
    spotter, _ = load_spotter(checkpoint)
    told = teacher_of(checkpoint, labels=["no", "_silence_"]).listen(waveform)
    assert told.equal(spotter(waveform)[:, [3, 0]]) and not told.requires_grad


def test_in_half_precision_it_says_nearly_the_same(checkpoint):
    waveform = torch.randn(3, CLIP_SAMPLES, generator=torch.Generator().manual_seed(0)) / 10
    told = teacher_of(checkpoint).listen(waveform)
    rounded = teacher_of(checkpoint, precision="bf16-mixed").listen(waveform)
    assert rounded.dtype == torch.float32 and rounded.allclose(told, atol=0.1)
    assert not rounded.equal(told)
    with pytest.raises(KwsError, match="precision must be one of 32-true, bf16-mixed, got 16"):
        teacher_of(checkpoint, precision=16)


def test_the_loss_is_the_divergence_of_softened_answers(checkpoint):
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]], requires_grad=True)
    told = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    teacher = teacher_of(checkpoint, temperature=3.0)
    own, wanted = (logits / 3).softmax(dim=1), (told / 3).softmax(dim=1)
    expected = 9 * (wanted * (wanted / own).log()).sum(dim=1).mean()
    loss = teacher.loss(logits, told)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    # With the temperature squared, gradients are of the size of those of the cross-entropy.
    assert logits.grad.allclose(3 * (own - wanted) / 2, atol=1e-5)
    assert teacher.loss(told, told).item() == pytest.approx(0, abs=1e-6)


def test_a_step_learns_from_the_labels_and_from_the_teacher(tree, tmp_path, parent, set_threads):
    set_threads(1)  # several would divide the clips among themselves
    module = built(tree, tmp_path, "teacher=run", f"teacher.run={parent}/checkpoints/best.ckpt")
    given = answers_of(module)
    heard = []

    def listen(waveform):
        heard.append(waveform)
        return Distillation.listen(module.distillation, waveform)

    module.distillation.listen = listen
    waveform = torch.randn(4, CLIP_SAMPLES, generator=torch.Generator().manual_seed(0)) / 10
    targets = torch.tensor([0, 1, 2, 3])
    loss = module.training_step((waveform, targets), 0)
    (logits,) = given
    assert logits.shape == (4, len(LABELS))
    # What is heard is what the network hears: noise and shift have changed it.
    assert heard[0].shape == waveform.shape and not heard[0].allclose(waveform)
    told = Distillation.listen(module.distillation, heard[0])
    expected = functional.cross_entropy(logits, targets) + module.distillation.loss(logits, told)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_model_names_its_teacher_and_has_nothing_of_it(tree, tmp_path, parent):
    run = train(tree, tmp_path, "teacher=run", f"teacher.run={parent}", "callbacks=ema")
    spotter, info = load_trained(run, run / "checkpoints/best.ckpt")
    told = info.training["teacher"]
    assert told.startswith(f"{parent.name} (BCResNet, ") and "validation accuracy" in told
    weights = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert sum(value.numel() for value in weights.values()) < 2 * info.training["parameters"]
    assert (run / "history.json").read_text().count("teacher_loss") == 2


def test_latest_is_the_run_of_that_moment(tree, tmp_path, parent):
    with initialize_config_dir(CONFIG_DIR):
        given = ["teacher=run", f"paths.runs={parent.parent}", f"folder={tmp_path}/new"]
        folder, cfg = open_run(compose("train", overrides(tree, tmp_path, *given)))
    assert cfg.teacher.run == str(parent / "checkpoints" / "best.ckpt")
    assert cfg.teacher.run in (folder / "config.yaml").read_text()


def test_an_interrupted_training_goes_on_to_the_same_weights(tree, tmp_path, parent):
    assert_an_interruption_changes_nothing(tree, tmp_path, "teacher=run", f"teacher.run={parent}")


def test_what_cannot_be_a_teacher_is_refused(tree, tmp_path, checkpoint, parent):
    with pytest.raises(KwsError, match="must know all labels, it lacks lights: train it on the"):
        teacher_of(checkpoint, labels=[*LABELS, "lights"])
    with pytest.raises(
        KwsError, match="16000 samples at 16000 Hz, and here they have 8000 at 8000"
    ):
        teacher_of(checkpoint, sample_rate=8000, clip_samples=8000)
    with pytest.raises(KwsError, match="temperature must be"):
        teacher_of(checkpoint, temperature=0)
    for given, message in (
        (f"teacher.run={tmp_path}/nothing", "nothing"),
        (f"teacher.run={Path(__file__)}", "cannot be read as"),
    ):
        with pytest.raises(KwsError, match=message):
            train(tree, tmp_path, "teacher=run", given)
    with pytest.raises(KwsError, match="^teacher.weight must be"):
        train(tree, tmp_path, "teacher=run", f"teacher.run={parent}", "teacher.weight=0")
