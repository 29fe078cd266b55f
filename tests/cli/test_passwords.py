"""Passwords leave the settings, and reach the stores all the same."""

import os

import pytest
from omegaconf import OmegaConf

from speech_commands_kws.cli.passwords import (
    MLFLOW_PASSWORD,
    MLFLOW_USER,
    STORAGE_PASSWORD,
    hide_passwords,
    with_password,
)


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
        ("postgresql://anna:secret@host/db", None, "secret", "postgresql://anna@host/db"),
    ],
)
@pytest.mark.parametrize("place", ["logger", "registry", None])
def test_mlflow_has_its_login_from_the_environment(address, user, password, shown, place):
    node = {"tracking_uri": address, "probe_seconds": 1}
    cfg = OmegaConf.create({place: node} if place else node)
    hide_passwords(cfg)
    assert OmegaConf.select(cfg, f"{place}.tracking_uri" if place else "tracking_uri") == shown
    assert os.environ.get(MLFLOW_USER) == user and os.environ.get(MLFLOW_PASSWORD) == password


def test_a_storage_keeps_its_user_and_has_its_password_back_when_it_is_opened():
    address = "postgresql+psycopg://anna:p%40%2Fss@host:5432/db?a=b@c"
    cfg = OmegaConf.create({"sweep": {"storage": address}, "pruning": "${sweep.storage}"})
    hide_passwords(cfg)
    assert cfg.pruning == "postgresql+psycopg://anna@host:5432/db?a=b@c"
    assert with_password(cfg.pruning, STORAGE_PASSWORD) == address
    for other in ("sqlite:////plots/a@b.db", "postgresql://anna:given@host/db"):
        assert with_password(other, STORAGE_PASSWORD) == other


def test_settings_without_addresses_stay():
    cfg = OmegaConf.create({"logger": None, "sweep": {"storage": None}, "tracking_uri": None})
    hide_passwords(cfg)
    assert cfg == {"logger": None, "sweep": {"storage": None}, "tracking_uri": None}


def test_what_a_multirun_hands_to_its_jobs_has_none():
    given = ["optimizer.lr=0.1,0.2", "+logger.tracking_uri='http://anna:secret@host'"]
    given += ["sweep.storage=postgresql://anna:other@host/db"]
    cfg = OmegaConf.create({"hydra": {"overrides": {"task": given}}})
    OmegaConf.set_readonly(cfg.hydra, True)
    hide_passwords(cfg)
    assert cfg.hydra.overrides.task[1] == "+logger.tracking_uri='http://host'"
    assert cfg.hydra.overrides.task[2] == "sweep.storage=postgresql://anna@host/db"
    assert (os.environ[MLFLOW_PASSWORD], os.environ[STORAGE_PASSWORD]) == ("secret", "other")
