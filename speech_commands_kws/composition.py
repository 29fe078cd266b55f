"""What every command shares: where the configs lie, what they may instantiate, how a mistake ends the process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import MissingMandatoryValue
from omegaconf.errors import InterpolationToMissingValueError

from speech_commands_kws.errors import KwsError, ReportedError
from speech_commands_kws.extras import missing_package

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


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a node of the configuration; a target that is not on the list is refused."""
    return instantiate(node, _execution_whitelist_=EXECUTION_WHITELIST, **arguments)


def run_command(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a mistake of the user ends it with one line on standard error and status 1.

    In a multirun the error is raised instead, because leaving the process would end the other jobs too.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return checked(run, cfg)
    with mistakes_end_the_process():
        return checked(run, cfg)


@contextmanager
def mistakes_end_the_process() -> Iterator[None]:
    try:
        yield
    except KwsError as error:
        if not isinstance(error, ReportedError):
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def checked(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a setting or a package that is missing becomes a mistake of the user."""
    try:
        return run(cfg)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error).splitlines()[0].rpartition(": ")[2]
        raise KwsError(f"expected a value for {key}, got none: add {key}=...") from None
    except ModuleNotFoundError as error:
        raise missing_package(error) from None
