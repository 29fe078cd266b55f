import pytest
import torch
from conftest import FRONTEND

from speech_commands_kws.errors import KwsError
from speech_commands_kws.models.checkpoint import load_spotter, module_facts, read_checkpoint

LOG_MEL = {"name": "LogMel"} | FRONTEND
BACKBONE = {
    "name": "BCResNet",
    "n_classes": 3,
    "n_mels": 40,
    "width": 1,
    "sub_bands": 5,
    "dropout": 0.1,
    "fast_training": True,
}
FACTS = {
    "labels": ["a", "b", "c"],
    "sample_rate": 16000,
    "clip_samples": 16000,
    "frontend": LOG_MEL,
    "backbone": BACKBONE,
}


def save(path, **changes):
    from speech_commands_kws.models.bc_resnet import BCResNet

    backbone = BCResNet(3, 40, 1, 5, 0.1, True)
    state = {f"spotter.backbone.{name}": value for name, value in backbone.state_dict().items()}
    facts = FACTS
    torch.save({"state_dict": state, "facts": facts} | changes, path)
    return backbone


def test_weights_come_back_in_evaluation_mode(tmp_path):
    backbone = save(tmp_path / "best.ckpt")
    spotter, facts = load_spotter(tmp_path / "best.ckpt")
    assert facts["labels"] == ["a", "b", "c"] and not spotter.training
    log_mel = torch.randn(2, 1, 40, 101)
    assert torch.equal(spotter.backbone(log_mel), backbone.eval()(log_mel))


def test_what_a_keyword_is_comes_back_where_streams_were_trained_on(tmp_path):
    assert (
        save(tmp_path / "clips.ckpt") and load_spotter(tmp_path / "clips.ckpt")[0].keywords is None
    )
    facts = FACTS | {"labels": ["_unknown_", "b", "c"], "streams": True}
    save(tmp_path / "streams.ckpt", facts=facts)
    assert load_spotter(tmp_path / "streams.ckpt")[0].keywords.tolist() == [[0], [1], [1]]


def test_missing_file(tmp_path):
    with pytest.raises(KwsError, match="found none"):
        read_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_other_files_are_one_clear_error(tmp_path, content):
    (tmp_path / "file.ckpt").write_bytes(content)
    with pytest.raises(KwsError, match="cannot be read"):
        read_checkpoint(tmp_path / "file.ckpt")


def test_checkpoint_of_another_program(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(KwsError, match="facts"):
        read_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        # what a module of ours imports is not ours
        "speech_commands_kws.tracking.recording.subprocess.run",
        "speech_commands_kws.cli.launch.sys.exit",
        "speech_commands_kws.models.frontend.nn.Linear",
        "speech_commands_kws.models.bc_resnet.nn.Identity",
        "speech_commands_kws.models.bc_resnet.functional",
        "speech_commands_kws.models.bc_resnet.training_forward",
        # ours, but neither front-end nor backbone
        "speech_commands_kws.cli.launch.build",
        "speech_commands_kws.models.frontend",
        "speech_commands_kws.models.nothing.Module",
        "speech_commands_kws..frontend.LogMel",
        # ours, but no checkpoint was ever written with it
        "speech_commands_kws.models.frontend.LogMel",
        "",
        None,
    ],
)
def test_foreign_code_is_refused(tmp_path, target):
    node = {"_target_": target, "args": ["touch", str(tmp_path / "executed")]}
    save(tmp_path / "hostile.ckpt", facts=FACTS | {"frontend": node})
    with pytest.raises(KwsError, match="do not use this file") as refusal:
        load_spotter(tmp_path / "hostile.ckpt")
    assert repr(target) in str(refusal.value)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_of_the_first_layout_still_loads(tmp_path):
    """It holds where the classes lay then, as `_target_`."""
    log_mel = {"_target_": "speech_commands_kws.frontend.LogMel"} | FRONTEND
    target = {"_target_": "speech_commands_kws.models.bc_resnet.BCResNet"}
    backbone = {key: value for key, value in BACKBONE.items() if key != "name"} | target
    saved = save(tmp_path / "old.ckpt", facts=FACTS | {"frontend": log_mel, "backbone": backbone})
    spotter, _ = load_spotter(tmp_path / "old.ckpt")
    log_mel = torch.randn(2, 1, 40, 101)
    assert torch.equal(spotter.backbone(log_mel), saved.eval()(log_mel))


def test_a_backbone_that_no_checkpoint_could_bring_back_is_refused():
    with pytest.raises(
        KwsError,
        match="among LogMel, BCResNet, DSCNN, SpeechEmbeddingNet, StreamingBCResNet, got mine.Net",
    ):
        module_facts("mine.Net", width=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"facts": None},
        {"facts": {"labels": ["a"]}},
        {"facts": {name: value for name, value in FACTS.items() if name != "frontend"}},
        {"facts": FACTS | {"frontend": LOG_MEL | {"n_mels": "many"}}},
        {"facts": FACTS | {"frontend": "log_mel"}},
        {"facts": FACTS | {"labels": 5}},
        {"facts": FACTS | {"labels": "yes"}},
        {"facts": FACTS | {"sample_rate": "fast"}},
        {"facts": FACTS | {"clip_samples": None}},
        {"facts": FACTS | {"backbone": [1]}},
        {"facts": FACTS | {"backbone": BACKBONE | {"depth": 3}}},
        {"facts": FACTS | {"backbone": BACKBONE | {"sub_bands": 0}}},
        {"state_dict": None},
        {"state_dict": {}},
        {"state_dict": {"spotter.backbone.stem.0.weight": torch.zeros(1)}},
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_clear_error(tmp_path, changes):
    save(tmp_path / "odd.ckpt", **changes)
    with pytest.raises(KwsError, match="odd.ckpt") as refusal:
        load_spotter(tmp_path / "odd.ckpt")
    assert "\n" not in str(refusal.value)


def test_code_in_the_file_is_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"facts": Hostile()}, tmp_path / "hostile.ckpt")
    with pytest.raises(KwsError, match="cannot be read"):
        read_checkpoint(tmp_path / "hostile.ckpt")
