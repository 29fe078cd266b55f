"""The console script: `kws train a.b=c -m` equals `python -m speech_commands_kws.train a.b=c -m`.

`infer`, `evaluate` and `describe` also take plain file names, `leaderboard` conditions, which Hydra's
grammar refuses: they become one quoted override.
"""

import sys
from importlib import import_module
from importlib.metadata import version

from speech_commands_kws.cli.launch import INTERRUPTED
from speech_commands_kws.cli.overrides import check_overrides, module_of, quoted, split_arguments
from speech_commands_kws.cli.terminal import report_io_errors
from speech_commands_kws.errors import DISTRIBUTION, KwsError, masked, missing_package

COMMANDS = {
    "train": "train a keyword spotter on a tree of recordings",
    "evaluate": "score a checkpoint or an exported model on a split or a folder",
    "export": "write the best checkpoint of a run to ONNX, checked against torch",
    "infer": "name the words in files, folders, patterns or - (standard input)",
    "serve": "serve a model by Triton, in an environment of its own or in a container",
    "describe": "show what an exported model says about itself",
    "check-data": "look recordings over: duplicates, levels, balance, suspect labels",
    "record": "record clips of a word from the microphone",
    "leaderboard": "compare the recorded runs of an experiment",
    "download": "bring the recordings of a training: by DVC, or from where they are published",
    "pack": "pack the recordings of a training, and count what is in them",
}
# The configuration key that plain names become: a list of them, or one.
LIST_KEYS = {"infer": "input"}
SINGLE_KEYS = {"evaluate": "model", "describe": "model", "leaderboard": "where"}
HELP_FLAGS = ("--help", "-h", "help")
VERSION_FLAGS = ("--version", "-V")
# The others answer on standard output, once.
MULTIRUN_COMMAND = "train"
MULTIRUN_FLAGS = frozenset(("-m", "--multirun"))
USAGE_STATUS = 2


def main() -> int:
    """Run one command. An invalid command line gives one line and status 2."""
    try:
        with report_io_errors():
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
    print(f"error: {masked(str(error))}", file=sys.stderr)
    return status


def to_overrides(command: str, arguments: list[str]) -> list[str]:
    """The arguments of `python -m speech_commands_kws.<command>` that mean the same.

    Raises:
        KwsError: there is no such command, it takes fewer file names, or an override is not one of its.
    """
    if command not in COMMANDS:
        raise KwsError(f"unknown command {command!r}: choose from {', '.join(COMMANDS)}")
    key = LIST_KEYS.get(command) or SINGLE_KEYS.get(command)
    overrides, names = split_arguments(arguments, takes_no_names=key is None)
    if command != MULTIRUN_COMMAND and not MULTIRUN_FLAGS.isdisjoint(overrides):
        raise KwsError(
            f"`kws {command}` runs once: leave out {min(MULTIRUN_FLAGS.intersection(overrides))}"
        )
    check_overrides(command, overrides)
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
