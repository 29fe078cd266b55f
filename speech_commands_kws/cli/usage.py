"""What `kws COMMAND --help` prints: read from the YAML files, which hold every comment once."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.cli.overrides import below, choices_of, module_of, settings_with

# A training has its settings in many files; of the other commands those of their own file are shown.
DATA_KEYS = ("data.words", "data.root")
SHOWN_KEYS = {
    "train": (
        *(*DATA_KEYS, "trainer.max_epochs", "loader.batch_size", "optimizer.lr"),
        *("backbone.width", "seed", "name", "resume", "run"),
    ),
    "download": (*DATA_KEYS, "json_file"),
    "pack": (*DATA_KEYS, "json_file"),
}
MOST_KEYS = 10
# A line of a YAML file with a key: its indentation, the key, and a comment behind the value.
ENTRY = re.compile(r"( *)(\w+):(?: [^#]*)?(?:# (.*))?")
# What a default is made of.
CHOSEN = re.compile(r"\$\{hydra:runtime\.choices\.(\w+)\}")
# Choices for the group backend, with which only one command has something to do.
SERVERS, ASKS_SERVERS = ("triton", "triton_grpc"), "infer"
LONGEST_VALUE = 40
WIDTH = 79
INDENT = "      "


def command_help(command: str, purpose: str, names: str, examples: Sequence[str]) -> str:
    """The page of one command.

    Args:
        names: what it takes besides settings, such as `FILE ...`, or nothing.
    """
    settings = settings_with(command, [])
    groups = {
        group: choice
        for group, choice in settings["hydra"]["runtime"]["choices"].items()
        if group.isidentifier() and len(choices_of(group)) > 1
    }
    own = Path(CONFIG_DIR, f"{module_of(command)}.yaml")
    keys = SHOWN_KEYS.get(command) or [
        key for key in comments(own) if not isinstance(settings.get(key, {}), Mapping)
    ]
    usage = " ".join(filter(None, ("usage: kws", command, names, "[key=value ...]")))
    lines = [usage, "", f"{purpose[0].upper()}{purpose[1:]}.", "", "settings and their defaults:"]
    for key in keys[:MOST_KEYS]:
        lines.append(f"  {key}={shown(settings, key)}")
        comment = comment_on(key, own, groups)
        lines.append(textwrap.fill(comment, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT))
    if groups:
        lines += ["", "groups of settings, group=choice, the default first:"]
        width = max(map(len, groups))
        for group, choice in groups.items():
            known = [
                name for name in choices_of(group) if command == ASKS_SERVERS or name not in SERVERS
            ]
            choices = sorted(known, key=lambda name: name != choice)
            choices = choices if choice in known else ["null", *choices]
            lines += textwrap.wrap(
                ", ".join(choices),
                WIDTH,
                initial_indent=f"  {group:{width}}  ",
                subsequent_indent=" " * (width + len("    ")),
            )
    lines += ["", "examples:", *(f"  kws {command} {example}".rstrip() for example in examples)]
    return "\n".join([*lines, "", f"`kws {command} --cfg job` prints every setting."])


def shown(settings: Mapping[str, Any], key: str) -> str:
    try:
        value = reduce(below, key.split("."), settings)
    except KeyError:  # of another choice than the default
        return "..."
    if isinstance(value, list):
        value = f"[{','.join(map(str, value))}]"
    text = value if isinstance(value, str) else json.dumps(value)
    text = CHOSEN.sub(lambda match: settings["hydra"]["runtime"]["choices"][match[1]], text)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def comment_on(key: str, own: Path, groups: Mapping[str, str]) -> str:
    """What stands about a key in the command's file, in that of the default choice, or in another choice."""
    group, _, rest = key.partition(".")
    folder = Path(CONFIG_DIR, group)
    others = [
        *sorted(Path(CONFIG_DIR, rest or key).glob("*.yaml")),
        *sorted(folder.rglob("*.yaml")),
    ]
    places = [(own, key), (folder / f"{groups.get(group)}.yaml", rest)]
    places += [(path, rest or key) for path in others]
    train = (Path(CONFIG_DIR, "train.yaml"), key)
    found = (comments(path).get(name) for path, name in [*places, train] if path.is_file())
    return next(filter(None, found), "")


def comments(path: Path) -> dict[str, str]:
    """The comment above or beside each key of a YAML file, by its dotted name; keys without one are left out."""
    found: dict[str, str] = {}
    above: list[str] = []
    parents: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip("# "))
            continue
        entry = ENTRY.match(line)
        if entry:
            indent, name, beside = len(entry[1]), entry[2], entry[3]
            parents = {depth: each for depth, each in parents.items() if depth < indent}
            parents[indent] = name
            if beside or above:
                found[".".join(parents.values())] = beside or " ".join(above)
        above = []
    found.pop("defaults", None)
    return found
