"""Mistakes a user can correct, how values are checked, and how a name is shown to him."""

import math
import re
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, requires
from numbers import Integral, Real
from typing import Any

__all__ = ["KwsError", "ReportedError", "SettingError"]

DISTRIBUTION = "speech-commands-kws"
SUMMARY_CHARACTERS = 500
PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
# Of an address, as in cli.passwords.
PASSWORD = re.compile(r"(://[^\s/:]*:)([^\s/]*|(?!\d+/)\S*?)(?=@)|([?&]password=)[^&\s]+")
EXTRA = re.compile(r"""([\w.-]+).*; extra == ["']([\w-]+)["']""")


class KwsError(Exception):
    """A mistake the user can correct.

    The message is one line that says what was expected, what came and what to do. Commands print it without a
    traceback and exit with status 1.
    """


class ReportedError(KwsError):
    """Ends a command that has already printed each of its errors; nothing is left to print."""


class SettingError(KwsError, ValueError):
    """A value that its constructor or function does not take; the message begins with the argument's name.

    Where the value comes from a configuration, `cli.launch` puts the key of the node before that name.
    """


def check_number(low: float = -math.inf, high: float = math.inf, /, **values: Any) -> None:
    """Raises SettingError for a value that is no finite number from `low` to `high`."""
    for name, value in values.items():
        if not (is_number(value) and low <= value <= high):
            raise SettingError(f"{name} must be {span('a number', low, high)}, got {value!r}")


def check_whole(low: float = 1, high: float = math.inf, /, **values: Any) -> None:
    """Raises SettingError for a value that is no whole number from `low` to `high`."""
    for name, value in values.items():
        if not (is_number(value) and low <= value <= high and isinstance(value, Integral)):
            raise SettingError(f"{name} must be {span('a whole number', low, high)}, got {value!r}")


def check_positive(**values: Any) -> None:
    """Raises SettingError for a value that is no finite number above 0."""
    for name, value in values.items():
        if not (is_number(value) and value > 0):
            raise SettingError(f"{name} must be a number above 0, got {value!r}")


def check_range(low: float = -math.inf, high: float = math.inf, /, **values: Any) -> None:
    """Raises SettingError for a value that is no pair (lowest, highest) of numbers from `low` to `high`."""
    for name, value in values.items():
        pair = list(value) if isinstance(value, list | tuple) else []
        if len(pair) != 2 or not all(map(is_number, pair)) or not low <= pair[0] <= pair[1] <= high:
            raise SettingError(
                f"{name} must be [lowest, highest], each {span('a number', low, high)}, got {value!r}"
            )


def check_flag(**values: Any) -> None:
    """Raises SettingError for a value that is not True or False: Hydra reads `no` as a text, which counts as true."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise SettingError(f"{name} must be true or false, got {value!r}")


def check_choice(choices: Collection[str], /, **values: Any) -> None:
    """Raises SettingError for a value that is none of these texts."""
    for name, value in values.items():
        if value not in choices:
            raise SettingError(f"{name} must be one of {', '.join(choices)}, got {value}")


def check_picture(name: str | None) -> None:
    """Raises SettingError for a file that no picture can be written to; None is no picture."""
    if name is not None and not str(name).lower().endswith(PICTURE_SUFFIXES):
        raise SettingError(f"picture must be a file {' or '.join(PICTURE_SUFFIXES)}, got {name!r}")


def check_texts(**values: Any) -> None:
    """Raises SettingError for a value that is no list of texts, with one at least."""
    for name, value in values.items():
        texts = value if isinstance(value, list | tuple) else [None]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise SettingError(
                f"{name} must be a list of texts such as [left,right], in quotes where one looks like a number or a "
                f"truth value, got {value!r}"
            )


def check_mapping(**values: Any) -> None:
    """Raises SettingError for a value that is no mapping."""
    for name, value in values.items():
        if not isinstance(value, dict):
            raise SettingError(f"{name} must be a mapping, got {value!r}")


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def span(kind: str, low: float, high: float) -> str:
    """Such as "a number from 0 to 1" or "a whole number of 1 or more"."""
    if high < math.inf:
        return f"{kind} from {low} to {high}"
    return kind if low == -math.inf else f"{kind} of {low} or more"


def display_name(source: object) -> str:
    """The name of a file, stream or anything else as one printable line."""
    if hasattr(source, "read"):
        source = getattr(source, "name", "<stream>")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(source)
    )


def masked(text: str) -> str:
    """A text without the passwords of addresses such as postgresql://user:password@host."""
    return PASSWORD.sub(r"\1\3***", text)


def summarize_error(error: object, limit: int = SUMMARY_CHARACTERS) -> str:
    """What an error says, as one line of at most `limit` characters; the name of its class where it says nothing."""
    text = masked(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def missing_package(error: ModuleNotFoundError) -> KwsError:
    """The error as a message that says what to install; any other failing import is a bug and is raised again."""
    module = (error.name or "").partition(".")[0]
    package = module.replace("_", "-").lower()
    try:
        requirements = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # a copy that was never installed
        raise error from None
    for found in filter(None, map(EXTRA.match, requirements)):
        # `import cuda` is of cuda-bindings, `import hydra_plugins` of hydra-optuna-sweeper.
        plugin = found[1].replace("hydra-optuna-sweeper", "hydra-plugins")
        if package in (found[1], found[1].removesuffix("-bindings"), plugin):
            return KwsError(f'{module} is not installed: pip install "{DISTRIBUTION}[{found[2]}]"')
    raise error
