import errno

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    build,
    checked,
    names_given,
    run_command,
    settings_of,
)
from speech_commands_kws.errors import KwsError, ReportedError, check_whole

STEPS = "augment.waveform.steps"
SHARE, COUNT = "a number from 0 to 1", "a whole number of 1 or more"
NATURAL, PAIR = "a whole number of 0 or more", "[lowest, highest], each a number"


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
        run_command(failing(error), OmegaConf.create())
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
        run_command(failing(ZeroDivisionError()), OmegaConf.create())


def test_answer_is_handed_on():
    assert run_command(lambda cfg: cfg["half"] + 1, OmegaConf.create({"half": 0.5})) == 1.5


def test_foreign_targets_are_refused():
    with pytest.raises(Exception, match="os.system"):
        build(OmegaConf.create({"_target_": "os.system", "command": "true"}))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"top_k": "${nope}"}, "nope"),
        ({"part": {"_target_": "os.system"}}, "os.system"),
        ({"part": {"_target_": "speech_commands_kws.nothing.Nothing"}}, "nothing.Nothing"),
        (
            {"part": {"_target_": "torch.optim.SGD", "speed": 1}},
            "part cannot be made of its settings: .*speed",
        ),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, reason):
    def run(cfg):
        return build(cfg.part) if "part" in cfg else cfg.top_k

    with pytest.raises(KwsError, match=reason) as mistake:
        checked(run, OmegaConf.create(settings))
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"dropout": 2}, "BCResNet cannot be made of its settings: dropout"),
        ({"width": 0}, "width must be a number above 0, got 0"),
    ],
)
def test_numbers_that_a_network_refuses_are_one_line(setting, reason):
    node = {
        "_target_": "speech_commands_kws.models.bc_resnet.BCResNet",
        **{"width": 1, "sub_bands": 5, "dropout": 0, "fast_training": False},
        **{"n_classes": 2, "n_mels": 40},
    }
    with pytest.raises(KwsError, match=reason) as mistake:
        build(OmegaConf.create(node | setting))
    assert "\n" not in str(mistake.value)


def test_too_little_memory_is_one_line():
    with pytest.raises(KwsError, match="memory of this machine is too small: 58 TiB"):
        checked(failing(MemoryError("58 TiB")), OmegaConf.create())


def test_a_copy_that_fails_names_where_it_went_to():
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/a", None, "runs/last.ckpt")
    with pytest.raises(KwsError, match="cannot use runs/last.ckpt .No space left"):
        checked(failing(full), OmegaConf.create())


def test_a_full_disk_is_a_mistake_of_the_user():
    full = OSError(errno.ENOSPC, "No space left on device", "a.png")
    with pytest.raises(KwsError, match="a.png .No space left"):
        checked(failing(full), OmegaConf.create())


# What a likely mistake would cost: a result that is silently wrong, or the hours until it is found.
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (f"{STEPS}.gain.share=-0.5", SHARE),
        (f"{STEPS}.gain.share=null", SHARE),
        (f"{STEPS}.gain.gain_db=[6,-12]", PAIR),
        (f"{STEPS}.shift.shift_ms=-1", "a number of 0 or more"),
        (f"{STEPS}.noise.snr_db=[25,-5]", PAIR),
        (f"{STEPS}.noise.snr_db=10", PAIR),
        (f"{STEPS}.bit_depth.bits=[12,7]", PAIR),
        (f"{STEPS}.babble.voices=[8,1]", PAIR),
        (f"{STEPS}.babble.voices=[0,3]", "a whole number of 1 or more"),
        (f"{STEPS}.band_limit.low_hz=[0,400]", PAIR),
        (f"{STEPS}.speed.factors=[0]", "a number above 0"),
        ("augment.mixup.shares={1: 2}", SHARE),
        ("augment.spectrogram.time_width=-1", NATURAL),
        ("augment.spectrogram.time_masks=1.5", NATURAL),
        ("frontend.hop_ms=0", "a number above 0"),
        ("frontend.n_mels=40.5", COUNT),
        ("task.silence=no", "true or false"),
        ("task.unknown=1", "true or false"),
        ("task.words=[yes,true]", "a list of texts"),
        ("data.source.voices.espeak.pitch=[75,25]", PAIR),
        ("data.source.speed=[0.8,20]", f"{PAIR} from 0.4 to 2.5"),
        ("data.source.position=[-1,1]", PAIR),
        ("data.source.speakers=20.5", "a whole number of 10 or more"),
        ("data.source.babbles=-1", NATURAL),
        ("data.source.seed=-1", NATURAL),
    ],
)
def test_a_value_that_a_constructor_refuses_is_named_by_its_key(setting, expected):
    with initialize_config_dir(CONFIG_DIR):
        # Rooms are left out: they are simulated when the step is made, which takes a second.
        cfg = compose("train", ["augment=robust", f"{STEPS}.reverberation=null", setting])
    cfg.paths.root = "here"
    key, _, value = setting.partition("=")
    with pytest.raises(KwsError) as mistake:
        build_without_data(cfg)
    assert str(mistake.value).startswith(f"{key} must be {expected}")
    assert ", got " in str(mistake.value) and "\n" not in str(mistake.value)


def build_without_data(cfg):
    build(cfg.augment.waveform)
    build(cfg.augment.spectrogram)
    build(cfg.augment.mixup, n_classes=2)
    build(cfg.frontend)
    build(cfg.task)
    build(cfg.data.source)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.words=no", "source.words must be a list of texts"),
        ("data.words=[]", "source.words must be a list of texts"),
        ("data.test_speakers=theo", "source.test_speakers must be a list such as"),
        ("data.validation_percent=101", "source.validation_percent must be a number from 0 to 100"),
    ],
)
def test_a_value_that_a_folder_refuses_is_one_line(setting, expected):
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["data=folder", "data.root=here", setting])
    with pytest.raises(KwsError, match=f"^data.{expected}"):
        build(cfg.data.source)


@pytest.mark.parametrize(
    ("primary", "setting", "expected"),
    [
        ("train", "augment.waveform.steps.noise.share=-1", SHARE),
        ("train", "augment.waveform.steps.noise.snr_db=[20,0]", PAIR),
        ("export", "quantize.gate.agreement=97", SHARE),
        ("export", "quantize.calibration_clips=-1", COUNT),
        ("export", "quantize.symmetric=no", "true or false"),
        ("export", "temperature.value=0", "a number above 0"),
        ("export", "triton.instances=0", COUNT),
        ("export", "triton.queue_delay_us=x", NATURAL),
        ("export", "plan_gate.agreement=97", SHARE),
        ("serve", "server.http_port=0", "a whole number from 1 to 65535"),
        ("serve", "supervisor.failures=0", COUNT),
        ("serve", "supervisor.every_seconds=0", "a number above 0"),
        ("evaluate", "robustness.held_out=0", "a number above 0"),
        ("evaluate", "robustness.clips=1.5", NATURAL),
        ("check_data", "limits.sure=90", SHARE),
    ],
)
def test_a_value_of_another_command_is_named_by_its_key(primary, setting, expected):
    choices = ["quantize=int8", "triton=repository"] if primary == "export" else []
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose(primary, [*choices, setting])
    cfg.paths.root = "here"
    key = setting.partition("=")[0]
    node = ".".join(key.split(".")[:2]) if primary == "train" else key.split(".")[0]
    with pytest.raises(KwsError, match=f"^{key} must be ") as mistake:
        build(OmegaConf.select(cfg, node))
    assert expected in str(mistake.value)


def test_a_step_may_be_left_out():
    with initialize_config_dir(CONFIG_DIR):
        left_out = [f"{STEPS}.{step}=null" for step in ("gain", "reverberation")]
        cfg = compose("train", ["augment=robust", *left_out])
    assert not {"gain", "reverberation"} & set(build(cfg.augment.waveform).steps)


def test_settings_that_are_not_built_are_named_by_their_group():
    with pytest.raises(KwsError, match="^parity.clips must be a whole number of 1 or more, got 0$"):
        with settings_of("parity"):
            check_whole(clips=0)


@pytest.mark.parametrize(
    ("value", "names"), [("a.wav", ["a.wav"]), (["a.wav", 5], ["a.wav", "5"]), (7, ["7"])]
)
def test_one_name_or_a_list(value, names):
    cfg = OmegaConf.create({"input": value})
    assert names_given(cfg.input, "none") == names


@pytest.mark.parametrize("value", [None, []])
def test_no_name_is_one_line(value):
    with pytest.raises(KwsError, match="^name a file$"):
        names_given(OmegaConf.create({"input": value}).input, "name a file")
