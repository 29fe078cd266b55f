"""What a training begins with: which run, checkpoint or model, what of it, and what is told of it."""

import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir
from registrations import NAME, export_of, new_store, register_there
from tone_trainings import assert_an_interruption_changes_nothing, built, train, weights
from trained_looking import OPSET

from speech_commands_kws.assembly import parent
from speech_commands_kws.assembly.parent import find_parent
from speech_commands_kws.assembly.resume import open_run
from speech_commands_kws.assembly.run_data import load_trained
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import read_checkpoint
from speech_commands_kws.models.speech_embedding import MELS, SpeechEmbeddingNet
from speech_commands_kws.packaging.onnx_export import write_onnx

SMALL = "backbone=bc_resnet_streaming_small"
CLASSIFIER = "spotter.backbone.head.5."


@pytest.fixture(scope="module")
def run_on_clips(tree, tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return train(tree, root, SMALL, "trainer.max_epochs=1", "augment=none")


def test_a_training_begins_with_the_weights_of_a_run(tree, tmp_path, run_on_clips, caplog):
    caplog.set_level("INFO")
    module = built(tree, tmp_path, SMALL, f"init={run_on_clips}", "backbone.mean_frames=17")
    trained = weights(run_on_clips, "best.ckpt")
    for name, value in module.state_dict().items():
        assert value.equal(trained[name]), name
    assert f"init: backbone and 4 of 4 classes from {run_on_clips}, new: none" in caplog.text
    # A run that is resumed has its own, and that it began with may be gone.
    built(tree, tmp_path, SMALL, "init=/gone", "resume=true")


def test_other_words_take_the_backbone_and_the_rows_of_those_that_both_have(
    tree, tmp_path, run_on_clips, caplog
):
    caplog.set_level("INFO")
    path = run_on_clips / "checkpoints/last.ckpt"
    module = built(tree, tmp_path, SMALL, "data.words=[tree,no]", f"init={path}")
    trained, own = weights(run_on_clips), module.state_dict()
    assert module.facts["labels"] == ["_silence_", "_unknown_", "tree", "no"]
    for name in ("weight", "bias"):
        rows, old = own[CLASSIFIER + name], trained[CLASSIFIER + name]
        assert rows[[0, 1, 3]].equal(old[[0, 1, 3]])
        assert not rows[2].equal(old[2])
    others = [name for name in own if not name.startswith(CLASSIFIER)]
    assert all(own[name].equal(trained[name]) for name in others)
    assert f"init: backbone and 3 of 4 classes from {path}, new: tree" in caplog.text
    told = module.facts["parent"]
    assert told.pop("data_fingerprint") == module.facts["data_fingerprint"]
    assert told == {
        "run": run_on_clips.name,
        "checkpoint": "last.ckpt",
        "data": "folder",
        "kept_classes": ["_silence_", "_unknown_", "no"],
    }


def composed(tmp_path, *given):
    with initialize_config_dir(CONFIG_DIR):
        settings = [f"paths.root={tmp_path}", "name=test", "logger=none", SMALL, *given]
        return compose("train", settings)


def found(tmp_path, init, *more):
    return find_parent(composed(tmp_path, f"init={init}", *more))


@pytest.mark.parametrize(
    "others, message",
    [
        (["frontend.hop_ms=20"], r"are for frontend.hop_ms=10, and here that is otherwise: give"),
        (["frontend.f_max=4000"], r"are for frontend.f_max=8000, and here"),
        (
            ["sample_rate=8000", "frontend.f_max=4000", "frontend.n_fft=256"],
            "f_max=8000 .*n_fft=512 sample_rate=16000,",
        ),
        (["frontend.n_mels=80"], r"are for frontend.n_mels=40, and here"),
        (
            ["backbone.width=2", "backbone.dilations=[1,1,1,1]"],
            r"backbone.dilations=\[1, 2, 4, 4\] backbone.width=1,",
        ),
        (
            ["backbone=bc_resnet"],
            "has a StreamingBCResNet, not a BCResNet: choose the same backbone",
        ),
    ],
)
def test_weights_of_another_spotter_are_refused(tmp_path, run_on_clips, others, message):
    with pytest.raises(KwsError, match=message):
        found(tmp_path, run_on_clips, *others)


def test_the_latest_run_is_none_of_a_multirun(tmp_path, monkeypatch):
    monkeypatch.setattr(parent, "is_multirun", lambda: True)
    with pytest.raises(KwsError, match="another run for each job of a multirun: give init=FOLDER"):
        found(tmp_path, "latest")


def test_a_run_remembers_what_it_began_with(tmp_path, run_on_clips):
    first = tmp_path / "plots/runs/one"
    shutil.copytree(run_on_clips, first)
    file = first / "checkpoints/last.ckpt"
    for given, kept in (("latest", first), ("one", first), (first, first), (file, file)):
        folder, opened = open_run(composed(tmp_path, f"init={given}"))
        shutil.rmtree(folder)
        assert opened.init == str(kept)
    assert open_run(composed(tmp_path))[1].init is None


def test_a_registered_model_leads_to_the_checkpoint_of_its_run(tmp_path, run_on_clips, empty_store):
    best = run_on_clips / "checkpoints/best.ckpt"
    spotter, info = load_trained(run_on_clips, best)
    write_onnx(spotter, info, OPSET, tmp_path / "model.onnx")
    store = new_store(tmp_path / "store", empty_store)
    version = register_there(store, export_of(tmp_path / "model.onnx", store))
    given = f"models:/{NAME}/{version}", f"registry.tracking_uri={store.uri}"
    with pytest.raises(KwsError, match=f"its run {run_on_clips.name} is not below .*: copy the fo"):
        found(tmp_path, *given)
    runs = tmp_path / "plots/runs"
    shutil.copytree(run_on_clips, runs / run_on_clips.name)
    copy = runs / run_on_clips.name / "checkpoints/best.ckpt"
    assert found(tmp_path, *given) == copy
    contents = torch.load(copy, weights_only=True)
    contents["facts"]["validation_accuracy"] = 2.0
    torch.save(contents, copy)
    with pytest.raises(KwsError, match="is not what models:/spotter/1 was exported from"):
        found(tmp_path, *given)


def test_frozen_parts_stay_through_a_training_that_is_resumed(tree, tmp_path, run_on_clips, caplog):
    caplog.set_level("INFO")
    more = SMALL, "data.words=[tree,no]", f"init={run_on_clips}", "freeze=2"
    train(tree, tmp_path, *more, "trainer.max_epochs=1")
    (folder,) = (tmp_path / "plots/runs").iterdir()
    assert "freeze: stem, blocks.0, blocks.1 as in the parent; the rest" in caplog.text
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("max_epochs: 1", "max_epochs: 2"))
    train(tree, tmp_path, "resume=true", f"run={folder}")
    checkpoint = read_checkpoint(folder / "checkpoints/last.ckpt")
    trained, parent_weights = checkpoint["state_dict"], weights(run_on_clips, "best.ckpt")
    frozen = ("spotter.backbone.stem", "spotter.backbone.blocks.0", "spotter.backbone.blocks.1")
    kept = {name for name in trained if parent_weights[name].equal(trained[name])}
    others = {name for name in trained if not name.startswith(frozen)}
    assert kept & others == set() and kept | others == set(trained)
    assert checkpoint["facts"]["parent"]["run"] == run_on_clips.name
    assert checkpoint["facts"]["frozen"] == ["stem", "blocks.0", "blocks.1"]


def test_freezing_random_weights_is_refused(tree, tmp_path):
    with pytest.raises(KwsError, match="give init= too"):
        train(tree, tmp_path, "freeze=backbone")


def test_speech_embedding_begins_with_googles_weights_and_keeps_those_that_are_frozen(
    tree, tmp_path
):
    settings = ["backbone=speech_embedding", "optimizer=adamw", "freeze=2"]
    folder = train(tree, tmp_path, *settings)
    google = SpeechEmbeddingNet(1, MELS, dropout=0)
    origin = google.begin_with_google()
    spotter, info = load_trained(folder, folder / "checkpoints/best.ckpt")
    trained, given = spotter.backbone.state_dict(), google.state_dict()
    same = {
        name for name in given if not name.startswith("head") and trained[name].equal(given[name])
    }
    kept = {name for name in given if name.startswith(("stem", "blocks.0", "blocks.1"))}
    assert kept and same == kept
    assert info.training["begun_with"] == origin
    module = built(tree, tmp_path, *settings[:2], f"init={folder}")
    assert module.spotter.backbone.last.weight.equal(trained["last.weight"])
    assert "begun_with" not in module.facts and module.facts["parent"]["begun_with"] == origin


def test_fine_tuning_goes_on_to_the_same_weights_after_an_interruption(tree, tmp_path):
    assert_an_interruption_changes_nothing(
        tree, tmp_path, "backbone=speech_embedding", "optimizer=adamw", "freeze=2"
    )


def test_a_front_end_that_does_not_fit_is_refused_before_anything_is_read(tree, tmp_path):
    settings = ["backbone=speech_embedding", "frontend=log_mel", "data.root=/unread"]
    with pytest.raises(
        KwsError, match="backbone.*frontend=speech_embedding with 32 mel bins, got 40"
    ):
        train(tree, tmp_path, *settings)
