"""The console script: `kws train a.b=c -m` equals `python -m speech_commands_kws.train a.b=c -m`.

`infer`, `evaluate` and `describe` also take plain file names, `leaderboard` conditions, which Hydra's
grammar refuses: they become one quoted override.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from speech_commands_kws.cli.launch import CONFIG_DIR, INTERRUPTED
from speech_commands_kws.cli.overrides import quoted
from speech_commands_kws.cli.terminal import refusals_reported
from speech_commands_kws.errors import DISTRIBUTION, KwsError, missing_package

COMMANDS = {
    "train": "train a keyword spotter on a tree of recordings",
    "evaluate": "score a checkpoint or an exported model on a split or a folder",
    "export": "write the best checkpoint of a run to ONNX, checked against torch",
    "infer": "name the words in files, folders, patterns or - (standard input)",
    "serve": "serve a model by Triton, in an environment of its own or in a container",
    "describe": "show what an exported model says about itself",
    "check-data": "look recordings over: duplicates, levels, balance, doubtful labels",
    "record": "record clips of a word from the microphone",
    "leaderboard": "compare the recorded runs of an experiment",
    "download": "bring the recordings of a training: by DVC, or from where they are published",
    "pack": "pack the recordings of a training, and count what is in them",
}
# The configuration key that plain names become: a list of them, or one.
LIST_KEYS = {"infer": "input"}
SINGLE_KEYS = {"evaluate": "model", "describe": "model", "leaderboard": "where"}
NAMELESS = ("train", "export", "download", "pack", "check-data", "record", "serve")
HELP_FLAGS = ("--help", "-h", "help")
VERSION_FLAGS = ("--version", "-V")
# The others answer on standard output, once.
MULTIRUN_COMMAND = "train"
MULTIRUN_FLAGS = frozenset(("-m", "--multirun"))
CONFIG_FLAGS = ("--config", "-cp", "-cn", "-cd")
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
# The beginning of an override that changes a setting of the command; `+a=` adds one.
KEY = re.compile(r"~?([A-Za-z_]\w*)", re.ASCII)
# One choice for a group of configurations: of a path, `a/b=c`, only what is there can be one.
CHOICE = re.compile(r"([A-Za-z_][\w/]*)=(\w+)", re.ASCII)
# What Hydra reads as an override: `a.b=`, `+a=`, `++a=`, `group/part@package=`, `a[0]=`, `~a`.
OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_$][\w$./@:\[\]-]*=|~[A-Za-z_][\w./@]*(=|$)", re.ASCII)


def main() -> int:
    """Run one command. An invalid command line gives one line and status 2."""
    try:
        with refusals_reported():
            return dispatch(*(sys.argv[1:] or HELP_FLAGS[:1]))
    except KwsError as error:
        return complain(error, 1)
    except KeyboardInterrupt:  # while modules are still loading
        return complain("interrupted", INTERRUPTED)


def dispatch(command: str, *arguments: str) -> int:
    """Run a command with its arguments; returns the exit status."""
    if command in (*HELP_FLAGS, *VERSION_FLAGS):
        print(version(DISTRIBUTION) if command in VERSION_FLAGS else usage())
        return 0
    try:
        overrides = to_overrides(command, list(arguments))
    except KwsError as error:
        return complain(error, USAGE_STATUS)
    try:
        module = import_module(f"speech_commands_kws.{module_of(command)}")
    except ModuleNotFoundError as error:
        raise missing_package(error) from None
    sys.argv = [f"kws {command}", *overrides]
    module.main()
    return 0


def module_of(command: str) -> str:
    """The name of a command's module, and of its configuration: `check_data` of `check-data`."""
    return command.replace("-", "_")


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


def complain(error: KwsError | str, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


def to_overrides(command: str, arguments: list[str]) -> list[str]:
    """The arguments of `python -m speech_commands_kws.<command>` that mean the same.

    Raises:
        KwsError: there is no such command, or it takes fewer file names.
    """
    if command not in COMMANDS:
        raise KwsError(f"unknown command {command!r}: choose from {', '.join(COMMANDS)}")
    overrides, names = split_arguments(arguments, command in NAMELESS)
    check_overrides(command, overrides)
    key = LIST_KEYS.get(command) or SINGLE_KEYS.get(command)
    if not names:
        return overrides
    if key is None:
        raise KwsError(
            f"`kws {command}` takes settings such as key=value, got {names[0]!r}: see `kws {command} --help`"
        )
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


def check_overrides(command: str, overrides: Sequence[str]) -> None:
    """Report in one line what Hydra would report in many.

    Raises:
        KwsError: a key is unknown, or a multirun is asked of a command that answers on standard output.
    """
    if command != MULTIRUN_COMMAND and not MULTIRUN_FLAGS.isdisjoint(overrides):
        raise KwsError(
            f"`kws {command}` runs once: leave out {min(MULTIRUN_FLAGS.intersection(overrides))}"
        )
    if any(override.startswith(CONFIG_FLAGS) for override in overrides):
        return  # settings of the user's own
    known = known_keys(command)
    for override in filter(looks_like_override, overrides):
        key = KEY.match(override)
        choice = CHOICE.fullmatch(override)
        if choice and choices_of(choice[1]) and choice[2] not in choices_of(choice[1]):
            raise KwsError(
                f"{choice[1]} must be one of {', '.join(choices_of(choice[1]))}, got {choice[2]}"
            )
        if key and key[1] not in known:
            raise KwsError(
                f"`kws {command}` has no setting {key[1]!r}, and {override!r} is no file: see `kws {command} --help`"
            )


def choices_of(group: str) -> list[str]:
    """The names of the configurations that a group consists of."""
    return sorted(path.stem for path in Path(CONFIG_DIR, group).glob("*.yaml"))


def known_keys(command: str) -> set[str]:
    """What an override of the command may begin with."""
    settings = read_settings(module_of(command))
    known = {"hydra", *settings}
    for entry in settings["defaults"]:
        if entry in list(COMMANDS):
            known |= known_keys(entry)
        for place, option in entry.items() if isinstance(entry, dict) else ():
            group, _, package = place.partition("@")
            is_here = package == "_here_"
            known |= set(read_settings(f"{group}/{option}")) if is_here else {group.split("/")[0]}
    return known


def read_settings(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(CONFIG_DIR, f"{name}.yaml").read_text(encoding="utf-8"))


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
