"""A multirun whose settings do not fit is refused, and nothing is made; what it needs is fetched once."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.errors import KwsError
from speech_commands_kws.sweeps.multirun import Multirun
from speech_commands_kws.sweeps.preflight import (
    check_multirun,
    check_one_process,
    fetch_recordings,
)

INTERVAL = "optimizer.lr=tag(log,interval(0.01,0.5))"


def sweep_of(folder: Path, searched: list[str], *overrides: str) -> DictConfig:
    """The configuration that Hydra gives its callbacks at the start of a multirun."""
    fixed = ["sweep=study", f"paths.root={folder}", "name=test", *overrides]
    with initialize_config_dir(CONFIG_DIR):
        config = compose("train", fixed, return_hydra_config=True)
    with open_dict(config.hydra):
        config.hydra.overrides.task = [*config.hydra.overrides.task, *searched]
    return config


def test_a_search_that_fits_begins_its_study(tmp_path: Path) -> None:
    check_multirun(sweep_of(tmp_path, [INTERVAL]))
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["studies.db"]


@pytest.mark.parametrize(
    ("searched", "overrides", "reason"),
    [
        (INTERVAL, "sweep.trials=abc", "sweep.trials must be a whole number of 1 or more"),
        (INTERVAL, "sweep.trials=1.5", "sweep.trials must be"),
        (INTERVAL, "sweep.trials=0", "sweep.trials must be"),
        (INTERVAL, "sweep.trials=-3", "sweep.trials must be"),
        (INTERVAL, "sweep.trials=null", "sweep.trials must be given"),
        (INTERVAL, "sweep.jobs=0", "sweep.jobs must be"),
        (INTERVAL, "sweep.name=", "sweep.name must be a name for a folder"),
        (INTERVAL, "sweep.name=null", "sweep.name must be given"),
        (INTERVAL, "sweep.name=../../../escape", "sweep.name must be a name for a folder"),
        (INTERVAL, "sweep.name=a/b", "sweep.name must be a name for a folder"),
        (INTERVAL, "sweep.storage=null", "sweep.storage must be given"),
        (INTERVAL, "sweep.storage=nonsense", "sweep.storage=nonsense"),
        (INTERVAL, "sweep.objectives.validation_accuracy=sideways", "maximize or minimize, got"),
        (INTERVAL, "+sweep.objectives.beauty=maximize", "expected sweep.objectives among"),
        (INTERVAL, "sweep.objectives=null", "expected sweep.objectives among"),
        (INTERVAL, "trainer.max_epochs=0", "trainer.max_epochs must be"),
        (INTERVAL, "+hydra.sweeper.sampler.nonsense=1", "the sampler cannot be made"),
        ("optimizer.lr=interval(0.5,0.1)", "seed=1", "nothing can be drawn from optimizer.lr="),
        ("optimizer.lr=tag(log,interval(0,0.1))", "seed=1", "nothing can be drawn from"),
        ("optimizer.speed=interval(0,0.1)", "seed=1", "there is no setting optimizer.speed"),
        ("optimizer.lr=0.1", "seed=1", "expected something to search"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys, searched: str, overrides: str, reason: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        Multirun(None).on_multirun_start(sweep_of(tmp_path, [searched], overrides))
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line
    assert not list(tmp_path.iterdir())


def test_a_plain_grid_is_looked_at_too(tmp_path: Path, capsys) -> None:
    config = sweep_of(tmp_path, [], "sweep=none", "sweep.objectives.validation_accuracy=up")
    with pytest.raises(SystemExit):
        Multirun(None).on_multirun_start(config)
    assert "maximize or minimize" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trainer",
    [
        {},
        {"devices": 1, "strategy": "auto", "num_nodes": 1},
        {"devices": "auto", "accelerator": "cpu"},
        {"devices": [3]},
        {"devices": "1"},
    ],
)
def test_trainings_in_one_process_each_may_be_many(trainer: dict) -> None:
    check_one_process(trainer)


@pytest.mark.parametrize(
    ("trainer", "given"),
    [
        ({"devices": 2}, "trainer.devices=2:"),
        ({"devices": [0, 1]}, "trainer.devices=[0, 1]:"),
        ({"devices": "0,1"}, "trainer.devices=0,1:"),
        ({"devices": 1, "num_nodes": 2}, "trainer.devices=1 on 2 machines:"),
        ({"devices": 1, "strategy": "ddp"}, "trainer.devices=1 with a strategy:"),
        ({"devices": 2, "strategy": {"_target_": "x"}}, "trainer.devices=2 with a strategy:"),
    ],
)
def test_a_multirun_of_joint_trainings_is_refused(trainer: dict, given: str) -> None:
    with pytest.raises(KwsError, match="expected one device") as refused:
        check_one_process(trainer)
    assert f"got {given}" in str(refused.value)


def multirun(*overrides: str) -> DictConfig:
    fixed = [override for override in overrides if "," not in override]
    config = compose("train", fixed, return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = list(overrides)
    HydraConfig.instance().set_config(config)
    return config


@pytest.fixture
def at_the_configs():
    with initialize_config_dir(CONFIG_DIR, job_name="test"):
        yield
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("overrides", "roots"),
    [
        (["data=folder", "data.root=one", "optimizer.lr=0.1,0.2"], ["one"]),
        (["data=folder", "data.root=one,two", "seed=1,2"], []),
        (["data=synthetic,speech_commands", "paths.data=here"], []),
        (["experiment=gsc12,smoke", "paths.data=here"], []),
        (["data.source.seed=1,2"], []),
        (["data=folder", "data.root=one", "optimizer.lr=interval(0.1,0.2)"], ["one"]),
    ],
)
def test_recordings_that_all_jobs_share_are_fetched_before_them(
    overrides: list[str], roots: list[str], monkeypatch: pytest.MonkeyPatch, at_the_configs: None
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(FolderSource, "fetch", lambda source: fetched.append(source.root))
    fetch_recordings(multirun(*overrides))
    assert fetched == roots


def test_what_cannot_be_fetched_ends_the_multirun(tmp_path: Path, at_the_configs: None) -> None:
    config = multirun(
        "data=speech_commands",
        f"paths.data={tmp_path}",
        "data.source.download.address=http://127.0.0.1:9",
        "data.source.download.attempts=1",
        "data.source.download.space_factor=0",
        "seed=1,2",
    )
    with pytest.raises(
        KwsError, match="^http://127.0.0.1:9/speech_commands_test_set_v0.02.tar.gz could"
    ):
        fetch_recordings(config)
