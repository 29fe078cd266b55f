"""The command line: file names told from overrides, mistakes in overrides, texts that Hydra reads back as they are."""

import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError

# After it everything is a file name, `-m` too.
END_OF_FLAGS = "--"
FLAGS_WITH_VALUE = frozenset(
    (
        "--cfg -c --package -p --config-path -cp --config-name -cn --config-dir -cd "
        "--experimental-rerun --info -i"
    ).split()
)
FLAGS = frozenset("--help -h --hydra-help --version --resolve --run -r --multirun -m".split())
CONFIG_FLAGS = ("--config", "-cp", "-cn", "-cd")
# What Hydra reads as an override: `a.b=`, `+a=`, `++a=`, `group/part@package=`, `a[0]=`, `~a`.
OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_$][\w$./@:\[\]-]*=|~[A-Za-z_][\w./@]*(=|$)", re.ASCII)
# The beginning of an override that changes a setting of the command; `+a=` adds one.
KEY = re.compile(r"~?([A-Za-z_]\w*)", re.ASCII)
# One choice for a group of configurations: of a path, `a/b=c`, only what is there can be one.
CHOICE = re.compile(r"([A-Za-z_][\w/]*)=(\w+)", re.ASCII)
INTERPOLATION = re.compile(r"(\\*)\$\{")
MISSING_MARK = re.compile(r"\\*\?\?\?")
BACKSLASHES_BEFORE_QUOTE = re.compile(r'(\\+)(?="|\Z)')
# Read back as they are without quotes.
PLAIN = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)


def split_arguments(
    arguments: Iterable[str], takes_no_names: bool = False
) -> tuple[list[str], list[str]]:
    """Tell Hydra's overrides and flags from file names: `(overrides, names)`.

    What exists on disk is a file, whatever it looks like, but for the flags themselves, and for commands that take no
    names.
    """
    overrides: list[str] = []
    names: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == END_OF_FLAGS:
            names.extend(remaining)
        elif argument in FLAGS_WITH_VALUE:
            overrides.extend([argument, *islice(remaining, 1)])
        elif (
            argument in FLAGS
            or (takes_no_names or not exists(argument))
            and looks_like_override(argument)
        ):
            overrides.append(argument)
        else:
            names.append(argument)
    return overrides, names


def exists(name: str) -> bool:
    try:
        Path(name).lstat()
    except OSError:
        return False
    return True


def looks_like_override(argument: str) -> bool:
    is_flag = argument.startswith("-") and argument != "-"
    return is_flag or OVERRIDE.match(argument) is not None


def check_overrides(command: str, overrides: Sequence[str]) -> None:
    """Report in one line what Hydra would report in many.

    Raises:
        KwsError: a key is unknown, or a group has no such choice.
    """
    if any(override.startswith(CONFIG_FLAGS) for override in overrides):
        return  # settings of the user's own
    known = known_keys(module_of(command))
    for override in filter(looks_like_override, overrides):
        key = KEY.match(override)
        choice = CHOICE.fullmatch(override)
        choices = choices_of(choice[1]) if choice else []
        if choices and choice[2] not in choices:
            raise KwsError(f"{choice[1]} must be one of {', '.join(choices)}, got {choice[2]}")
        if key and key[1] not in known:
            raise KwsError(
                f"`kws {command}` has no setting {key[1]!r}, and {override!r} is no file: see `kws {command} --help`"
            )


def module_of(command: str) -> str:
    """The name of a command's module, and of its configuration: `check_data` of `check-data`."""
    return command.replace("-", "_")


def choices_of(group: str) -> list[str]:
    """The names of the configurations that a group consists of."""
    return sorted(path.stem for path in Path(CONFIG_DIR, group).glob("*.yaml"))


def known_keys(name: str) -> set[str]:
    """What an override may begin with where the configuration of this name is the command's."""
    settings = read_settings(name)
    known = {"hydra", *settings}
    for entry in settings.get("defaults", []):
        if isinstance(entry, str):
            known |= known_keys(entry) if entry != "_self_" else set()
            continue
        ((place, option),) = entry.items()
        group, _, package = place.partition("@")
        is_here = package == "_here_"
        known |= set(read_settings(f"{group}/{option}")) if is_here else {group.split("/")[0]}
    return known


def read_settings(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(CONFIG_DIR, f"{name}.yaml").read_text(encoding="utf-8"))


def quoted(name: str) -> str:
    r"""A value that Hydra's grammar and then OmegaConf read back as exactly this text.

    Hydra, inside double quotes: `"` is `\"`, and backslashes before a quote are doubled. OmegaConf:
    `${` begins an interpolation unless it is `\${`, with the backslashes before it doubled; `???`
    marks a missing value unless it is `\???`.
    """
    literal = INTERPOLATION.sub(r"\1\1\\${", name)
    if MISSING_MARK.fullmatch(name):
        literal = f"\\{name}"
    escaped = BACKSLASHES_BEFORE_QUOTE.sub(r"\1\1", literal).replace('"', r"\"")
    return f'"{escaped}"'


def resume_command(run_folder: Path) -> str:
    """The shell command that resumes a training, to be copied from a terminal."""
    folder = str(run_folder)
    value = folder if PLAIN.fullmatch(folder) else quoted(folder)
    return shlex.join(["kws", "train", "resume=true", f"run={value}"])
