"""What the folder of a run tells about a model for others."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from conftest import TINY_METADATA
from omegaconf import OmegaConf

from speech_commands_kws import bundle
from speech_commands_kws.assembly.bundle import bundled, materials_of, recipe_of
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.released import PROVENANCE

LICENCES = {"speech_commands": "CC BY 4.0", "talk": "public domain"}
CONFIG = {
    "data": {"name": "speech_commands", "words": ["yes"]},
    "backbone": {"_target_": "package.BCResNet"},
    "loader": {"batch_size": 100, "cache": "/home/anna/packed"},
    "trainer": {"max_epochs": 20},
    "optimizer": {"lr": 0.1},
    "teacher": {"_target_": "package.Distillation", "run": None, "weight": 1.0},
}
GATE = {"accuracy": 0.9, "found": 0.75}


def changed(**nodes: object) -> dict:
    return CONFIG | {"teacher": None} | nodes


def make_run(folder: Path, model: Path, **nodes: object) -> Path:
    """The folder of a run with an exported model."""
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(changed(**nodes)))
    shutil.copyfile(model, folder / "model.onnx")
    (folder / "model.md").write_text(
        "# A card\n\n## Limits\n\nMany.\n\n## Pictures\n\n![a](b.png)\n"
    )
    return folder


def evaluate(run: Path, accuracy: float, split: str | None = "test") -> None:
    facts = {
        "model_sha256": sha256((run / "model.onnx").read_bytes()).hexdigest(),
        "split": split,
        "accuracy": accuracy,
        "accuracy_interval_95": [0.5, 1.0],
        "clips": 200,
        "data": "the test split",
    }
    (run / "test.json").write_text(json.dumps(facts))


@pytest.fixture
def model(make_tiny_onnx, tmp_path) -> Path:
    training = {"data_fingerprint": "abc", "accuracy": 0.95, "accuracy_clips": 200, "seed": 3}
    return make_tiny_onnx(
        tmp_path / "tiny.onnx", TINY_METADATA | {"training": json.dumps(training)}
    )


def test_what_a_run_has_learnt_from_is_told_with_its_parents_and_teacher(tmp_path, model):
    teacher = make_run(
        tmp_path / "teacher", model, backbone={"_target_": "package.SpeechEmbeddingNet"}
    )
    parent = make_run(tmp_path / "parent", model, data={"name": "synthetic"})
    streams = {
        "negatives": ["data/corpora/talk-1/train", "data/corpora/train"],
        "mined": "data/mined",
    }
    found = materials_of(
        changed(
            streams=streams,
            init=str(parent),
            teacher={"_target_": "package.Distillation", "run": f"{teacher}/checkpoints/best.ckpt"},
            augment={"noise_folder": "noises"},
            auxiliary={"root": "data/others"},
        )
    )
    assert [parts[-1] for parts in found] == (
        ["speech_commands", "others", "noises", "train", "train", "mined"]
        + ["synthetic", "speech_commands", "SpeechEmbeddingNet"]
    )


def test_a_folder_goes_by_a_name_of_its_path(tmp_path, model):
    streams = {"negatives": "/home/anna/corpora/talk-4ebb/train"}
    auxiliary = {"root": "/home/anna/speech_commands_v0.02"}
    run = make_run(tmp_path / "run", model, streams=streams, auxiliary=auxiliary)
    found = bundled(run, "model.onnx", "test.json", LICENCES).materials
    assert [(each.name, each.licence) for each in found] == list(LICENCES.items())


def test_a_parent_that_is_gone_is_one_clear_error(tmp_path):
    with pytest.raises(KwsError, match="expected the run .*/moved, with which the training began"):
        list(materials_of(changed(init=f"{tmp_path}/moved/checkpoints/best.ckpt")))


def test_synthetic_streams_hear_synthetic_talk():
    assert ("talk",) in list(
        materials_of(changed(data={"name": "synthetic"}, streams={"negatives": None}))
    )


def test_a_recipe_has_no_place_of_this_machine():
    recipe = recipe_of(CONFIG | {"teacher": {"run": "/home/anna/runs/large", "weight": 1.0}})
    assert "anna" not in json.dumps(recipe)
    assert recipe["teacher"] == {"run": "large", "weight": 1.0}
    assert recipe["trainer"] == {"max_epochs": 20} and recipe["loader"] == {"batch_size": 100}


def test_the_bundle_tells_of_model_material_and_figures(tmp_path, model):
    run = make_run(tmp_path / "run", model)
    evaluate(run, 0.925)
    output = tmp_path / "weights"
    cfg = OmegaConf.create(
        {"clip_run": str(run), "stream_run": None, "evaluation": "test.json", "output": str(output)}
        | {
            "not_for_use": None,
            "gate": GATE,
            "licences": LICENCES,
            "paths": {"runs": str(tmp_path)},
        }
    )
    assert bundle.run(cfg) == 1
    assert (output / "model.onnx").read_bytes() == model.read_bytes()
    card = (output / "model.md").read_text()
    assert card.startswith("# A card\n\n## Limits\n\nMany.\n\n## Learnt from\n")
    assert "| speech_commands | CC BY 4.0 |" in card and "b.png" not in card
    assert "| accuracy | 0.925 | 0.5 to 1 | 200 clips of " in card
    facts = json.loads((output / PROVENANCE).read_text())
    assert facts["not_for_use"] is None
    told = facts["models"]["model.onnx"]
    assert told["seed"] == 3 and told["bytes"] == model.stat().st_size
    assert told["materials"] == [
        {"name": "speech_commands", "licence": "CC BY 4.0", "fingerprint": "abc"}
    ]
    validation, test = told["figures"]
    assert (
        validation["value"] == 0.95
        and "by which the checkpoint was chosen" in validation["measured_on"]
    )
    assert test["value"] == 0.925 and test["measured_on"] == "200 clips of the test split"


@pytest.mark.parametrize(
    "accuracy, nodes, message",
    [
        (None, {}, "is not measured on the test split"),
        (0.85, {}, r"gets right 85.0% in the test split, and a model for others needs 90.0%"),
        (
            0.95,
            {"data": {"name": "folder"}},
            r"learnt from folder, whose terms nobody has told.*\+licences.folder=",
        ),
    ],
)
def test_what_is_not_fit_for_others_is_bundled_only_when_it_says_so(
    tmp_path, model, accuracy, nodes, message
):
    run = make_run(tmp_path / "run", model, **nodes)
    if accuracy:
        evaluate(run, accuracy)
    cfg = OmegaConf.create(
        {
            "clip_run": str(run),
            "stream_run": None,
            "evaluation": "test.json",
            "output": str(tmp_path / "weights"),
        }
        | {
            "not_for_use": None,
            "gate": GATE,
            "licences": LICENCES,
            "paths": {"runs": str(tmp_path)},
        }
    )
    for nothing in (None, ""):
        cfg.not_for_use = nothing
        with pytest.raises(KwsError, match=message):
            bundle.run(cfg)
    assert not (tmp_path / "weights").exists()
    cfg.not_for_use = "trained for a test"
    bundle.run(cfg)
    assert (
        json.loads((tmp_path / "weights" / PROVENANCE).read_text())["not_for_use"]
        == "trained for a test"
    )


@pytest.mark.parametrize(
    "split, message",
    [("validation", "tells of the validation split: .* split=test"), (None, "tells of a folder")],
)
def test_an_evaluation_of_other_sound_is_refused(tmp_path, model, split, message):
    run = make_run(tmp_path / "run", model)
    evaluate(run, 0.95, split)
    with pytest.raises(KwsError, match=message):
        bundled(run, "model.onnx", "test.json", LICENCES)


def test_an_evaluation_of_another_file_is_refused(tmp_path, model, make_tiny_onnx):
    run = make_run(tmp_path / "run", model)
    evaluate(run, 0.95)
    training = json.dumps({"data_fingerprint": "abc", "seed": 4})
    make_tiny_onnx(run / "model.onnx", TINY_METADATA | {"training": training})
    with pytest.raises(KwsError, match="test.json is of another file than model.onnx is now"):
        bundled(run, "model.onnx", "test.json", LICENCES)
    (run / "test.json").write_text("{")
    with pytest.raises(KwsError, match="test.json is damaged: evaluate model.onnx again"):
        bundled(run, "model.onnx", "test.json", LICENCES)
    with pytest.raises(
        KwsError, match="expected .*model.streaming.onnx, found none: `kws export run="
    ):
        bundled(run, "model.streaming.onnx", "test.json", LICENCES)
