"""The console script: `kws train a.b=c -m` equals `python -m speech_commands_kws.train a.b=c -m`.

`infer`, `mine`, `listen`, `evaluate`, `describe`, `tune` and `demo` also take plain file names, `leaderboard`
conditions and `check-word` words, which Hydra's grammar refuses: they become one quoted override.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from speech_commands_kws.cli.launch import INTERRUPTED
from speech_commands_kws.cli.overrides import (
    as_meant,
    check_overrides,
    did_you_mean,
    module_of,
    quoted,
    split_arguments,
)
from speech_commands_kws.cli.passwords import without_passwords
from speech_commands_kws.cli.terminal import report_io_errors, shown
from speech_commands_kws.cli.usage import command_help
from speech_commands_kws.errors import DISTRIBUTION, KwsError, missing_package

COMMANDS = {
    "train": "train a keyword spotter on a tree of recordings",
    "evaluate": "score a checkpoint or an exported model on a split or a folder",
    "export": "write the best checkpoint of a run to ONNX, checked against torch",
    "tune": "choose the thresholds of a streaming model by false alarms",
    "mine": "keep the false alarms of a streaming model, to train on them",
    "infer": "name the words in files, folders, patterns or - (standard input)",
    "listen": "report keywords as they are said: microphone, file or -",
    "demo": "listen in a browser, on a page that runs the model itself",
    "bundle": "put trained models into the package, for its wheel",
    "serve": "serve a model by Triton, without a container or in one",
    "describe": "show what an exported model says about itself",
    "doctor": "show what is installed and works; status 1 where something is broken",
    "check-data": "look recordings over: duplicates, levels, balance, suspect labels",
    "check-word": "tell how distinct a keyword is, before anything is trained",
    "record": "record clips of a word from the microphone",
    "enroll": "add a keyword to an exported model by a few recordings",
    "leaderboard": "compare the recorded runs of an experiment",
    "download": "fetch the recordings of a training, by DVC or their publisher",
    "pack": "pack the recordings of a training, and count what is in them",
}
# The configuration key that plain names become: a list of them, or one.
LIST_KEYS = {"infer": "input", "mine": "input", "check-word": "keywords"}
SINGLE_KEYS = {
    **{"evaluate": "model", "describe": "model", "tune": "model", "demo": "model"},
    **{"listen": "input", "leaderboard": "where"},
}
EXAMPLES = {
    "train": (
        "'data.words=[computer,lights,music]'",
        "data=folder data.root=recordings augment=robust trainer.max_epochs=20",
        "-m optimizer.lr=0.03,0.1",
        "resume=true",
    ),
    "evaluate": ("split=test report=report.html", "model.onnx input=recordings"),
    "export": ("", "quantize=int8", "run=plots/runs/NAME register=true"),
    "enroll": (
        "word=lights clips=recordings/lights",
        "model=model.onnx word=lights others=recordings",
    ),
    "tune": ("false_alarms_per_hour=0.5",),
    "mine": ("data/corpora/train", "recordings/ worst=200 output=data/mined"),
    "infer": ("recording.wav", "recordings/ format=csv top_k=1"),
    "listen": ("", "talk.wav speed=0", "- format=json", "'on_event=[notify-send,\"{keyword}\"]'"),
    "demo": ("", "model.onnx browser=false"),
    "bundle": ("clip_run=plots/runs/NAME stream_run=plots/runs/OTHER",),
    "serve": ("", "model=model.onnx", "mode=container", "mode=wyoming"),
    "describe": ("", "model.onnx format=json"),
    "doctor": ("", "format=json"),
    "check-data": ("data=folder data.root=recordings picture=check.png",),
    "check-word": ("lights 'hey lights'",),
    "record": ("word=lights speaker=anna count=20",),
    "leaderboard": ("", "'optimizer.lr > 0.01' top=10 picture=runs.png"),
    "download": ("data=speech_commands", "corpora=debian"),
    "pack": ("data=folder data.root=recordings",),
}
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
            require_folder()
            return dispatch(*(sys.argv[1:] or HELP_FLAGS[:1]))
    except KwsError as error:
        return complain(error, 1)
    except KeyboardInterrupt:  # while modules are still loading
        return complain("interrupted", INTERRUPTED)


def require_folder() -> None:
    """Raises KwsError where the working folder is no longer there, of which Hydra asks."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise KwsError("the working folder has been removed: change to another one") from None


def dispatch(command: str, *arguments: str) -> int:
    """Run a command with its arguments; returns the exit status."""
    if command in (*HELP_FLAGS, *VERSION_FLAGS):
        print(version(DISTRIBUTION) if command in VERSION_FLAGS else usage())
        return 0
    try:
        if command in COMMANDS and not set(HELP_FLAGS[:2]).isdisjoint(arguments):
            print(command_help(command, COMMANDS[command], names_of(command), EXAMPLES[command]))
            return 0
        overrides = to_overrides(command, list(arguments))
    except KwsError as error:
        return complain(error, USAGE_STATUS)
    if sys.stderr is not None and sys.stderr.isatty():
        # What follows may take ten seconds to load.
        print(f"kws {command}: {COMMANDS[command]}", file=sys.stderr, flush=True)
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
            "`kws COMMAND --help` shows the settings of a command, and examples.",
        ]
    )


def names_of(command: str) -> str:
    """What a command takes besides settings."""
    if command in LIST_KEYS:
        return "WORD ..." if command == "check-word" else "FILE ..."
    return f"[{SINGLE_KEYS[command].upper()}]" if command in SINGLE_KEYS else ""


def complain(error: KwsError | str, status: int) -> int:
    print(f"error: {shown(error)}", file=sys.stderr)
    return status


def to_overrides(command: str, arguments: list[str]) -> list[str]:
    """The arguments of `python -m speech_commands_kws.<command>` that mean the same.

    Raises:
        KwsError: there is no such command, it takes fewer file names, or an override is not one of its.
    """
    if command not in COMMANDS:
        raise KwsError(
            f"unknown command {command!r}: choose from {', '.join(COMMANDS)}"
            + did_you_mean(command, COMMANDS)
        )
    key = LIST_KEYS.get(command) or SINGLE_KEYS.get(command)
    arguments = without_passwords(arguments)
    overrides, names = split_arguments(arguments, takes_no_names=key is None)
    if command != MULTIRUN_COMMAND and not MULTIRUN_FLAGS.isdisjoint(overrides):
        raise KwsError(
            f"`kws {command}` runs once: leave out {min(MULTIRUN_FLAGS.intersection(overrides))}"
        )
    is_multirun = not MULTIRUN_FLAGS.isdisjoint(overrides)
    overrides = [as_meant(override, is_multirun) for override in overrides]
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
