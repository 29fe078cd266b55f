"""Passwords in the addresses of stores: every command takes them out of its settings, so that none is shown or kept.

They go into environment variables, which the processes that a command starts inherit, and which a user may set instead.
"""

import os
import re
from urllib.parse import quote, unquote

from omegaconf import DictConfig, OmegaConf, read_write

MLFLOW_USER, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
STORAGE_PASSWORD = "KWS_STORAGE_PASSWORD"
VARIABLES = {
    "tracking_uri": MLFLOW_PASSWORD,
    "logger.tracking_uri": MLFLOW_PASSWORD,
    "registry.tracking_uri": MLFLOW_PASSWORD,
    "sweep.storage": STORAGE_PASSWORD,
}
HTTP = re.compile("https?://")
# A password may have an unquoted slash too; http://host:8080/a@b is a port and a path.
LOGIN = re.compile(r"(?<=://)(?P<user>[^\s/:]+)(:(?P<password>[^\s/]*|(?!\d+/)\S*?))?@")


def hide_passwords(cfg: DictConfig) -> None:
    """Move the passwords of the addresses in these settings into the environment."""
    for key, variable in VARIABLES.items():
        address = OmegaConf.select(cfg, key)
        if LOGIN.search(str(address)):
            OmegaConf.update(cfg, key, without_password(str(address), variable))
    given = OmegaConf.select(cfg, "hydra.overrides.task") or OmegaConf.create([])
    with read_write(given):
        for i, override in enumerate(given):  # which a multirun hands to its jobs, and keeps
            key, sign, value = override.partition("=")
            if key.lstrip("+") in VARIABLES:
                given[i] = key + sign + without_password(value, VARIABLES[key.lstrip("+")])


def without_password(address: str, variable: str) -> str:
    """The address without the password, which the environment has then.

    MLflow's client takes the user of a server from there too, and would prefer what the address says.
    """
    login = LOGIN.search(address)
    if login is None:
        return address
    user, password = login["user"], login["password"]
    if password is not None:
        os.environ[variable] = unquote(password)
    if variable == MLFLOW_PASSWORD and HTTP.search(address):
        os.environ[MLFLOW_USER] = unquote(user)
        user = ""
    return LOGIN.sub(lambda _: user and f"{user}@", address)


def with_password(address: str, variable: str) -> str:
    """The address of a database that names a user and no password, with that of the environment."""
    login, password = LOGIN.search(address), os.environ.get(variable)
    if login is None or login["password"] is not None or password is None:
        return address
    return LOGIN.sub(lambda _: f"{login['user']}:{quote(password, safe='')}@", address)
