"""What a multirun fetches before its first job."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.sources.folder import FolderSource
from speech_commands_kws.sweeps.recordings_first import RecordingsFirst, jobs_by_data

FETCHED = "speech_commands_kws.data.sources.folder.FolderSource.fetch"


def multirun(*overrides: str) -> DictConfig:
    fixed = [override for override in overrides if "," not in override]
    config = compose("train", fixed, return_hydra_config=True)
    with open_dict(config):
        config.hydra.overrides.task = list(overrides)
    HydraConfig.instance().set_config(config)
    return config


@pytest.fixture(autouse=True)
def hydra_at_the_configs():
    with initialize_config_dir(CONFIG_DIR, job_name="test"):
        yield
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("overrides", "roots"),
    [
        (["data=folder", "data.root=one", "optimizer.lr=0.1,0.2"], ["one"]),
        (["data=folder", "data.root=one,two", "seed=1,2"], ["one", "two"]),
        (["data=synthetic,speech_commands", "paths.data=here"], ["here/speech_commands_v0.02"]),
        (["experiment=gsc12,smoke", "paths.data=here"], ["here/speech_commands_v0.02"]),
        (["data.source.seed=1,2"], []),
        (["data=folder", "data.root=one", "optimizer.lr=interval(0.1,0.2)"], ["one"]),
    ],
)
def test_each_choice_of_recordings_is_fetched_once(
    overrides: list[str], roots: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(FolderSource, "fetch", lambda source: fetched.append(source.root))
    RecordingsFirst().on_multirun_start(multirun(*overrides), "train")
    assert fetched == roots


def test_what_cannot_be_fetched_ends_the_multirun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = multirun(
        "data=speech_commands",
        f"paths.data={tmp_path}",
        "data.source.download.address=http://127.0.0.1:9",
        "data.source.download.attempts=1",
        "data.source.download.space_factor=0",
        "seed=1,2",
    )
    with pytest.raises(SystemExit):
        RecordingsFirst().on_multirun_start(config, "train")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: http://127.0.0.1:9/speech_commands_test_set_v0.02.tar.gz could")


def test_the_configuration_itself_where_nothing_is_swept() -> None:
    config = multirun("seed=1")
    assert list(jobs_by_data(config, "train")) == [config]
