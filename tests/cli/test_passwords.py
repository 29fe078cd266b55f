"""Passwords leave the command line and the settings, and reach the stores all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tone_trainings import overrides

from speech_commands_kws.cli.passwords import (
    MLFLOW_PASSWORD,
    MLFLOW_USER,
    STORAGE_PASSWORD,
    hide_passwords,
    with_password,
    without_passwords,
)

ROOT = Path(__file__).resolve().parents[2]
KWS = "import sys; from speech_commands_kws.commands import main; sys.exit(main())"
SECRET = "unheard,of"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in (MLFLOW_USER, MLFLOW_PASSWORD, STORAGE_PASSWORD):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("address", "user", "password", "shown"),
    [
        ("https://anna:p%40ss:1@host:80/a", "anna", "p@ss:1", "https://host:80/a"),
        ("http://anna:p/w@host", "anna", "p/w", "http://host"),
        ("https://anna@host", "anna", None, "https://host"),
        ("https://anna@b.org:p@host/a", "anna@b.org", "p", "https://host/a"),
        ("https://host:8080/a", None, None, "https://host:8080/a"),
        ("http://:secret@host", None, "secret", "http://@host"),
        ("postgresql://anna:secret@host/db", None, "secret", "postgresql://anna@host/db"),
        ("mysql://host/db?password=s%2Fc,t&a=b", None, "s/c,t", "mysql://host/db?password=&a=b"),
    ],
)
@pytest.mark.parametrize("place", ["logger", "registry", None])
def test_mlflow_has_its_login_from_the_environment(address, user, password, shown, place):
    node = {"tracking_uri": address, "probe_seconds": 1}
    cfg = OmegaConf.create({place: node} if place else node)
    hide_passwords(cfg)
    assert OmegaConf.select(cfg, f"{place}.tracking_uri" if place else "tracking_uri") == shown
    assert os.environ.get(MLFLOW_USER) == user and os.environ.get(MLFLOW_PASSWORD) == password


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        (
            "postgresql+psycopg://anna:p%40%2Fss@host:5432/db?a=b@c",
            "postgresql+psycopg://anna@host:5432/db?a=b@c",
        ),
        ("postgresql://host/db?password=p%40%2Fss", "postgresql://host/db?password="),
        ("http://:p%40%2Fss@host", "http://@host"),
    ],
)
def test_an_address_keeps_the_place_of_its_password_and_has_it_back(address, kept):
    cfg = OmegaConf.create({"sweep": {"storage": address}, "pruning": "${sweep.storage}"})
    hide_passwords(cfg)
    assert cfg.pruning == kept
    assert with_password(cfg.pruning, STORAGE_PASSWORD) == address
    for other in (
        *("sqlite:////plots/a@b.db", "postgresql://anna:given@host/db"),
        "mysql://host/db?password=given",
    ):
        assert with_password(other, STORAGE_PASSWORD) == other
    del os.environ[STORAGE_PASSWORD]
    assert with_password(kept, STORAGE_PASSWORD) == kept


def test_settings_without_addresses_stay():
    cfg = OmegaConf.create({"logger": None, "sweep": {"storage": None}, "tracking_uri": None})
    hide_passwords(cfg)
    assert cfg == {"logger": None, "sweep": {"storage": None}, "tracking_uri": None}


@pytest.mark.parametrize(
    ("given", "cleaned", "variable"),
    [
        ("logger.tracking_uri=http://anna:sec,ret@host", "logger.tracking_uri=http://host", None),
        (
            "+logger.tracking_uri='http://:sec,ret@host'",
            "+logger.tracking_uri='http://@host'",
            None,
        ),
        (
            "logger={tracking_uri: http://anna:sec,ret@host, probe_seconds: 1}",
            "logger={tracking_uri: http://host, probe_seconds: 1}",
            None,
        ),
        (
            '++sweep={name:a,storage:"postgresql://host/db?password=sec,ret",tracking_uri:"http://a@b"}',
            '++sweep={name:a,storage:"postgresql://host/db?password=",tracking_uri:"http://b"}',
            STORAGE_PASSWORD,
        ),
        (
            "sweep={storage: postgresql://host/db?password=sec,ret, name: a}",
            "sweep={storage: postgresql://host/db?password=, name: a}",
            STORAGE_PASSWORD,
        ),
        ("sweep.storage=mysql://a:sec,ret@b/c", "sweep.storage=mysql://a@b/c", STORAGE_PASSWORD),
    ],
)
def test_an_argument_loses_its_password_before_it_is_read(given, cleaned, variable):
    rest = ["optimizer.lr=0.1,0.2", "data.fetch.url=http://a:b@c", "--cfg=job"]
    assert without_passwords([given, *rest]) == [cleaned, *rest]
    assert os.environ[variable or MLFLOW_PASSWORD] == "sec,ret"


def said_by(folder: Path, *command: str) -> str:
    """What a command says, and all that it leaves in a folder."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join([done.stdout, *(path.read_bytes() for path in files)]).decode(
        errors="replace"
    )


@pytest.mark.parametrize("command", [["kws", "train"], ["-m", "speech_commands_kws.train"]])
def test_what_is_printed_of_the_settings_has_no_password(tmp_path, command):
    given = f"logger={{tracking_uri: 'http://anna:{SECRET}@host'}}"
    way = ["-c", KWS, *command[1:]] if command[0] == "kws" else command
    said = said_by(
        tmp_path, *way, given, "sweep.storage='mysql://b/c?password=unheard'", "--cfg=job"
    )
    assert "tracking_uri: http://host" in said and "storage: mysql://b/c?password=\n" in said
    assert "unheard" not in said


@pytest.mark.integration
def test_a_training_shows_and_keeps_no_password(tree, tmp_path):
    settings = overrides(tree, tmp_path, "trainer.max_epochs=1")
    settings.remove("logger=none")
    address = f"logger.tracking_uri=http://:{SECRET}@127.0.0.1:9"
    said = said_by(tmp_path, "-c", KWS, "train", *settings, address)
    assert (
        tmp_path / "plots" / "mlflow.db"
    ).is_file() and "no MLflow server at http://@127" in said
    assert "unheard" not in said
