"""What every command shares: where the configs lie, what they may instantiate, how a mistake ends the process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from speech_commands_kws.errors import KwsError, ReportedError
from speech_commands_kws.extras import missing_package
from speech_commands_kws.output import refusals_reported, require_output

PACKAGE_DIR = Path(__file__).resolve().parent
REPOSITORY_CONFIGS = PACKAGE_DIR.parent / "configs"
# A wheel carries the configs inside the package; a checkout has them beside it.
CONFIG_DIR = str(
    PACKAGE_DIR / "configs" if (PACKAGE_DIR / "configs").is_dir() else REPOSITORY_CONFIGS
)
EXECUTION_WHITELIST = [
    "speech_commands_kws.*",
    "torch.optim.*",
    "lightning.pytorch.*",
    "optuna.pruners.*",
]
# Settings of any command that are true or false.
BOOLEANS = (
    "resume",
    "register",
    "descending",
    "backbone.fast_training",
    "logger.system_metrics",
    "task.unknown",
    "task.silence",
)


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a node of the configuration; a target that is not on the list is refused.

    Raises:
        KwsError: its settings are not what it takes.
    """
    try:
        return instantiate(node, _execution_whitelist_=EXECUTION_WHITELIST, **arguments)
    except OmegaConfBaseException:
        raise
    except (TypeError, ValueError) as error:
        raise KwsError(
            f"{node.get('_target_')} cannot be made of its settings: {one_line(error)}"
        ) from error


def run_command(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a mistake of the user ends it with one line on standard error and status 1.

    In a multirun the error is raised instead, because leaving the process would end the other jobs too.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return checked(run, cfg)
    with mistakes_end_the_process():
        return checked(run, cfg)


def run_answering(run: Callable[[Any], Any], cfg: Any) -> Any:
    """`run_command` for commands whose answer goes to standard output."""
    with mistakes_end_the_process():
        require_output()
    return run_command(run, cfg)


@contextmanager
def mistakes_end_the_process() -> Iterator[None]:
    try:
        yield
    except KwsError as error:
        if not isinstance(error, ReportedError):
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def checked(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a setting or a package that is missing, or a disk that is full, is a mistake of the user."""
    try:
        check_booleans(cfg)
        with refusals_reported():
            return run(cfg)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error).splitlines()[0].rpartition(": ")[2]
        raise KwsError(f"expected a value for {key}, got none: add {key}=...") from None
    except (OmegaConfBaseException, HydraException) as error:
        raise KwsError(f"the settings do not fit: {one_line(error)}") from error
    except ModuleNotFoundError as error:
        raise missing_package(error) from None


def check_booleans(cfg: Any) -> None:
    """Hydra reads `no` as a text, which would count as true."""
    for key in BOOLEANS:
        value = OmegaConf.select(cfg, key) if OmegaConf.is_config(cfg) else None
        if value is not None and not isinstance(value, bool):
            raise KwsError(f"{key} must be true or false, got {value!r}")


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
