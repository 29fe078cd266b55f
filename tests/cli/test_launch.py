import errno

import pytest
from omegaconf import OmegaConf

from speech_commands_kws.cli.launch import build, checked, run_command
from speech_commands_kws.errors import KwsError, ReportedError


def failing(error: Exception):
    def run(cfg):
        raise error

    return run


@pytest.mark.parametrize(
    "error, line",
    [
        (KwsError("expected this"), "error: expected this\n"),
        (ReportedError("one line each has been printed"), ""),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), '[train]"\n'),
    ],
)
def test_a_mistake_of_the_user_is_one_line_and_status_one(capsys, error, line):
    with pytest.raises(SystemExit) as stop:
        run_command(failing(error), None)
    complaint = capsys.readouterr().err
    assert stop.value.code == 1
    assert complaint.endswith(line) and complaint.count("\n") == bool(line)


def test_missing_setting_is_named(capsys):
    cfg = OmegaConf.create({"data": {"root": "???", "source": {"root": "${data.root}"}}})
    with pytest.raises(SystemExit):
        run_command(lambda cfg: OmegaConf.to_container(cfg, resolve=True), cfg)
    assert (
        capsys.readouterr().err
        == "error: expected a value for data.root, got none: add data.root=...\n"
    )


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(failing(ZeroDivisionError()), None)


def test_answer_is_handed_on():
    assert run_command(lambda cfg: cfg + 0.5, 1) == 1.5


def test_foreign_targets_are_refused():
    with pytest.raises(Exception, match="os.system"):
        build(OmegaConf.create({"_target_": "os.system", "command": "true"}))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"top_k": "${nope}"}, "nope"),
        ({"part": {"_target_": "os.system"}}, "os.system"),
        ({"part": {"_target_": "speech_commands_kws.nothing.Nothing"}}, "nothing.Nothing"),
        ({"part": {"_target_": "torch.optim.SGD", "speed": 1}}, "torch.optim.SGD cannot be made"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, reason):
    def run(cfg):
        return build(cfg.part) if "part" in cfg else cfg.top_k

    with pytest.raises(KwsError, match=reason) as mistake:
        checked(run, OmegaConf.create(settings))
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("width", [-1, 0])
def test_numbers_that_torch_refuses_are_one_line(width):
    node = {
        "_target_": "speech_commands_kws.models.bc_resnet.BCResNet",
        **{"width": width, "sub_bands": 5, "dropout": 0, "fast_training": False},
        **{"n_classes": 2, "n_mels": 40},
    }
    with pytest.raises(KwsError, match="BCResNet cannot be made of its settings"):
        build(OmegaConf.create(node))


def test_too_little_memory_is_one_line():
    with pytest.raises(KwsError, match="memory of this machine is too small: 58 TiB"):
        checked(failing(MemoryError("58 TiB")), None)


def test_a_copy_that_fails_names_where_it_went_to():
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/a", None, "runs/last.ckpt")
    with pytest.raises(KwsError, match="cannot use runs/last.ckpt .No space left"):
        checked(failing(full), None)


def test_a_full_disk_is_a_mistake_of_the_user():
    full = OSError(errno.ENOSPC, "No space left on device", "a.png")
    with pytest.raises(KwsError, match="a.png .No space left"):
        checked(failing(full), None)
