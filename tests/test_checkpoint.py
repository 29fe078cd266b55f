import pytest
import torch

from speech_commands_kws.checkpoint import load_spotter, read_checkpoint
from speech_commands_kws.errors import KwsError

FRONTEND = {
    "_target_": "speech_commands_kws.frontend.LogMel",
    "sample_rate": 16000,
    "window_ms": 30,
    "hop_ms": 10,
    "n_fft": 512,
    "n_mels": 40,
    "f_min": 0,
    "f_max": 8000,
    "log_floor": 1e-6,
}
BACKBONE = {
    "_target_": "speech_commands_kws.models.bc_resnet.BCResNet",
    "n_classes": 3,
    "n_mels": 40,
    "width": 1,
    "sub_bands": 5,
    "dropout": 0.1,
    "fast_training": True,
}


def save(path, **changes):
    from speech_commands_kws.models.bc_resnet import BCResNet

    backbone = BCResNet(3, 40, 1, 5, 0.1, True)
    state = {f"spotter.backbone.{name}": value for name, value in backbone.state_dict().items()}
    facts = {"labels": ["a", "b", "c"], "frontend": FRONTEND, "backbone": BACKBONE}
    torch.save({"state_dict": state, "facts": facts} | changes, path)
    return backbone


def test_weights_come_back_in_evaluation_mode(tmp_path):
    backbone = save(tmp_path / "best.ckpt")
    spotter, facts = load_spotter(tmp_path / "best.ckpt")
    assert facts["labels"] == ["a", "b", "c"] and not spotter.training
    log_mel = torch.randn(2, 1, 40, 101)
    assert torch.equal(spotter.backbone(log_mel), backbone.eval()(log_mel))


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


def test_foreign_code_is_refused(tmp_path):
    facts = {"frontend": FRONTEND | {"_target_": "os.system"}, "backbone": BACKBONE}
    save(tmp_path / "hostile.ckpt", facts=facts)
    with pytest.raises(KwsError, match="os.system"):
        load_spotter(tmp_path / "hostile.ckpt")


def test_code_in_the_file_is_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"facts": Hostile()}, tmp_path / "hostile.ckpt")
    with pytest.raises(KwsError, match="cannot be read"):
        read_checkpoint(tmp_path / "hostile.ckpt")
