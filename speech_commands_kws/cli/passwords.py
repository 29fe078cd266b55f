"""Passwords in the addresses of stores: every command takes them out of its command line, before anything reads it.

They go into environment variables, which the processes that a command starts inherit, and which a user may set instead.
"""

import os
import re
from urllib.parse import quote, unquote

from omegaconf import DictConfig, OmegaConf

MLFLOW_USER, MLFLOW_PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
STORAGE_PASSWORD = "KWS_STORAGE_PASSWORD"
VARIABLES = {
    "tracking_uri": MLFLOW_PASSWORD,
    "logger.tracking_uri": MLFLOW_PASSWORD,
    "registry.tracking_uri": MLFLOW_PASSWORD,
    "sweep.storage": STORAGE_PASSWORD,
}
# Where an address begins in an argument: `logger.tracking_uri=`, and `tracking_uri: ` in `logger={…}`.
ADDRESS = re.compile(r"(\btracking_uri|\bstorage)(?=[\"']?\s*[=:])")
HTTP = re.compile("https?://")
# A password may have an unquoted slash too; http://host:8080/a@b is a port and a path.
LOGIN = re.compile(r"(?<=://)(?P<user>[^\s/:]*)(:(?P<password>[^\s/]*|(?!\d+/)\S*?))?@")
# `?password=` of a database; what it leaves empty is its place.
OPTION = re.compile(r"(?<=[?&]password=)[^&\s\"'}]*")


def without_passwords(arguments: list[str]) -> list[str]:
    """The arguments of a command line without the passwords in them, which the environment has then."""
    return [_cleaned(argument) for argument in arguments]


def _cleaned(argument: str) -> str:
    before, *parts = ADDRESS.split(argument)
    for key, text in zip(parts[::2], parts[1::2], strict=True):
        variable = MLFLOW_PASSWORD if key == "tracking_uri" else STORAGE_PASSWORD
        before += key + without_password(text, variable)
    return before


def hide_passwords(cfg: DictConfig) -> None:
    """Move the passwords of these settings into the environment: files of the user's own may have some."""
    for key, variable in VARIABLES.items():
        address = OmegaConf.select(cfg, key)
        if isinstance(address, str):
            clean = without_password(address, variable)
            if clean != address:
                OmegaConf.update(cfg, key, clean)


def without_password(address: str, variable: str) -> str:
    """The address without the password, which the environment has then.

    MLflow's client takes the user of a server from there too, and would prefer what the address says.
    """
    option = OPTION.search(address)
    if option and option[0]:
        os.environ[variable] = unquote(option[0].rstrip(","))
        return OPTION.sub("," * option[0].endswith(","), address)
    login = LOGIN.search(address)
    if login is None:
        return address
    user, password = login["user"], login["password"]
    if password is not None:
        os.environ[variable] = unquote(password)
    if user and variable == MLFLOW_PASSWORD and HTTP.search(address):
        os.environ[MLFLOW_USER] = unquote(user)
        return LOGIN.sub("", address, count=1)
    return LOGIN.sub(lambda _: f"{user}@", address, count=1)


def with_password(address: str, variable: str) -> str:
    """The address with the password of the environment, where it has a place for one and none there."""
    login, password = LOGIN.search(address), quote(os.environ.get(variable, ""), safe="")
    if OPTION.search(address):
        return OPTION.sub(lambda option: option[0] or password, address)
    if login is None or login["password"] is not None or not password:
        return address
    return LOGIN.sub(lambda _: f"{login['user']}:{password}@", address)
