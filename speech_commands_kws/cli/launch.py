"""What every command shares: the configuration folder, what may be instantiated, errors of one line."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from speech_commands_kws.cli.passwords import hide_passwords, without_passwords
from speech_commands_kws.cli.targets import TARGETS, adding_targets, allowed_targets
from speech_commands_kws.cli.terminal import report_io_errors, require_output, shown
from speech_commands_kws.errors import (
    KwsError,
    ReportedError,
    SettingError,
    missing_package,
    summarize_error,
)

INTERRUPTED = 130  # the status of a shell's command that Ctrl-C has ended
KEY_NOTE = "full_key: "
REFUSED_TARGET = re.compile("Target '(.+)' is not in the Hydra execution whitelist")
PACKAGE_DIR = Path(__file__).resolve().parent.parent
REPOSITORY_CONFIGS = PACKAGE_DIR.parent / "configs"
# A wheel carries the configs inside the package; a checkout has them beside it.
CONFIG_DIR = str(
    PACKAGE_DIR / "configs" if (PACKAGE_DIR / "configs").is_dir() else REPOSITORY_CONFIGS
)
# For what Hydra itself makes: sweeper, launcher, callbacks, the handler of the log.
EXECUTION_WHITELIST = [*TARGETS, "speech_commands_kws.cli.terminal.LogHandler"]


def hiding_passwords(main: Callable[[], Any]) -> Callable[[], Any]:
    """Above `hydra.main`: passwords leave the command line before Hydra reads it."""

    @wraps(main)
    def start() -> Any:
        sys.argv = without_passwords(sys.argv)
        return main()

    return start


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a node of the configuration; a target that is not on the list is refused.

    Raises:
        KwsError: its settings are not what it takes.
    """
    with settings_of(node.get("_target_", "")):
        return instantiate(node, _execution_whitelist_=allowed_targets(), **arguments)


@contextmanager
def settings_of(key: str) -> Iterator[None]:
    """Name the settings that something made of them refuses: by the key that Hydra notes on the error, or by this one.

    Raises:
        KwsError: they were refused.
    """
    try:
        yield
    except OmegaConfBaseException:
        raise
    except InstantiationException as error:
        refused = REFUSED_TARGET.match(str(error))
        if refused is None:
            raise
        raise KwsError(
            f"a configuration names {refused[1]}, which is not on the list of what it may call: if you trust it, "
            f"allow it on the command line, targets=[{refused[1]}]"
        ) from error
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(KEY_NOTE)]
        key = notes[0].removeprefix(KEY_NOTE) if notes else key
        if isinstance(error, SettingError):
            raise KwsError(f"{key}.{error}") from error
        raise KwsError(f"{key} cannot be made of its settings: {summarize_error(error)}") from error


def names_given(value: Any, complaint: str) -> list[str]:
    """A setting that is one name or a list of them, as a list.

    Raises:
        KwsError: there is none; it says the complaint.
    """
    names = list(value) if OmegaConf.is_list(value) else [value]
    if names in ([], [None]):
        raise KwsError(complaint)
    return list(map(str, names))


def is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def run_command(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a mistake of the user ends it with one line on standard error and status 1.

    In a multirun the error is raised instead, because leaving the process would end the other jobs too.
    """
    if is_multirun():
        return checked(run, cfg)
    with exit_on_user_error():
        return checked(run, cfg)


def run_answering(run: Callable[[Any], Any], cfg: Any) -> Any:
    """`run_command` for commands whose answer goes to standard output."""
    with exit_on_user_error():
        require_output()
    return run_command(run, cfg)


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    try:
        yield
    except KwsError as error:
        if not isinstance(error, ReportedError):
            print(f"error: {shown(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def checked(run: Callable[[Any], Any], cfg: Any) -> Any:
    """Run a command; a setting or a package that is missing, or a disk that is full, is a mistake of the user."""
    try:
        with report_io_errors(), adding_targets(cfg.get("targets", ())):
            hide_passwords(cfg)
            return run(cfg)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error).splitlines()[0].rpartition(": ")[2]
        raise KwsError(f"expected a value for {key}, got none: add {key}=...") from None
    except (OmegaConfBaseException, HydraException) as error:
        raise KwsError(f"the settings do not fit: {summarize_error(error)}") from error
    except MemoryError as error:
        raise KwsError(
            f"the memory of this machine is too small: {summarize_error(error)}"
        ) from error
    except ModuleNotFoundError as error:
        raise missing_package(error) from None
