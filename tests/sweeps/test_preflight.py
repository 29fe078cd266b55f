"""A sweep whose settings do not fit ends with one line, and nothing is made."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.sweeps.preflight import SweepCheck

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
    SweepCheck().on_multirun_start(config=sweep_of(tmp_path, [INTERVAL]))
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
        SweepCheck().on_multirun_start(config=sweep_of(tmp_path, [searched], overrides))
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line
    assert not list(tmp_path.iterdir())


def test_a_plain_grid_is_looked_at_too(tmp_path: Path, capsys) -> None:
    config = sweep_of(tmp_path, [], "sweep=none", "sweep.objectives.validation_accuracy=up")
    with pytest.raises(SystemExit):
        SweepCheck().on_multirun_start(config=config)
    assert "maximize or minimize" in capsys.readouterr().err
