"""The console script: `kws train a.b=c -m` equals `python -m speech_commands_kws.train a.b=c -m`.

`infer`, `evaluate` and `describe` also take plain file names, `leaderboard` conditions, which Hydra's
grammar refuses: they become one quoted override.
"""

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from pathlib import Path

from speech_commands_kws.errors import KwsError
from speech_commands_kws.extras import missing_package
from speech_commands_kws.overrides import quoted

COMMANDS = {
    "train": "train a keyword spotter on a tree of recordings",
    "evaluate": "score a checkpoint or an exported model on a split or a folder",
    "export": "write the best checkpoint of a run to ONNX, checked against torch",
    "infer": "name the words in files, folders, patterns or - (standard input)",
    "describe": "show what an exported model says about itself",
    "leaderboard": "compare the recorded runs of an experiment",
}
# The configuration key that plain names become: a list of them, or one.
LIST_KEYS = {"infer": "input"}
SINGLE_KEYS = {"evaluate": "model", "describe": "model", "leaderboard": "where"}
HELP_FLAGS = ("--help", "-h", "help")
USAGE_STATUS = 2
# After it everything is a file name, `-m` too.
END_OF_FLAGS = "--"
FLAGS_WITH_VALUE = frozenset(
    (
        "--cfg -c --package -p --config-path -cp --config-name -cn --config-dir -cd "
        "--experimental-rerun --info -i"
    ).split()
)
FLAGS = frozenset("--help -h --hydra-help --version --resolve --run -r --multirun -m".split())
# What Hydra reads as an override: `a.b=`, `+a=`, `++a=`, `group/part@package=`, `a[0]=`, `~a`.
OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_$][\w$./@:\[\]-]*=|~[A-Za-z_][\w./@]*(=|$)", re.ASCII)


def main() -> int:
    """Run one command. A command line that makes no sense gives one line and status 2."""
    command, *arguments = sys.argv[1:] or HELP_FLAGS
    if command in HELP_FLAGS:
        print(usage())
        return 0
    try:
        overrides = to_overrides(command, arguments)
    except KwsError as error:
        return complain(error, USAGE_STATUS)
    try:
        module = import_module(f"speech_commands_kws.{command}")
    except ModuleNotFoundError as error:
        return complain(missing_package(error), 1)
    sys.argv = [f"kws {command}", *overrides]
    module.main()
    return 0


def usage() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: kws COMMAND [FILE ...] [key=value ...]",
            "",
            *(f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items()),
            "",
            "`kws COMMAND --help` shows the keys of a command and their values.",
        ]
    )


def complain(error: KwsError, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


def to_overrides(command: str, arguments: list[str]) -> list[str]:
    """The arguments of `python -m speech_commands_kws.<command>` that mean the same.

    Raises:
        KwsError: there is no such command, or it takes fewer file names.
    """
    if command not in COMMANDS:
        raise KwsError(f"unknown command {command!r}: choose from {', '.join(COMMANDS)}")
    key = LIST_KEYS.get(command) or SINGLE_KEYS.get(command)
    if key is None:
        return arguments
    overrides, names = split_arguments(arguments)
    if not names:
        return overrides
    if any(override.startswith(f"{key}=") for override in overrides):
        raise KwsError(
            f"{key} is given twice, as {names[0]!r} and as {key}=: leave one of them out"
        )
    if command in LIST_KEYS:
        return [*overrides, f"{key}=[{','.join(map(quoted, names))}]"]
    if len(names) > 1:
        raise KwsError(
            f"`kws {command}` takes one {key}, got {len(names)}: {' '.join(map(repr, names))}"
        )
    return [*overrides, f"{key}={quoted(names[0])}"]


def split_arguments(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell Hydra's overrides and flags from file names: `(overrides, names)`.

    What exists on disk is a file, whatever it looks like, but for the flags themselves.
    """
    overrides: list[str] = []
    names: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == END_OF_FLAGS:
            names.extend(remaining)
        elif argument in FLAGS_WITH_VALUE:
            overrides.extend([argument, *islice(remaining, 1)])
        elif argument in FLAGS or not exists(argument) and looks_like_override(argument):
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
