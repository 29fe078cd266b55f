import pytest
from omegaconf import OmegaConf

from speech_commands_kws.sweeps.one_process import OneProcessEach


def test_a_multirun_of_joint_trainings_ends_before_its_first_job(capsys):
    config = OmegaConf.create({"trainer": {"devices": 2}})
    with pytest.raises(SystemExit) as stop:
        OneProcessEach().on_multirun_start(config=config, config_name="train")
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: expected one device")


def test_another_multirun_begins():
    OneProcessEach().on_multirun_start(config=OmegaConf.create({"trainer": {"devices": 1}}))
