"""The command line: file names told from overrides, mistakes in overrides, texts that Hydra reads back as they are."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

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
# An override that changes a setting of the command; `+a=` adds one, and `hydra.` is Hydra's own business.
KEY = re.compile(r"~?(?!hydra\b)([A-Za-z_][\w.]*)(?:=(.*)|$)", re.ASCII | re.DOTALL)
# One choice for a group of configurations: of a path, `a/b=c`, only what is there can be one.
CHOICE = re.compile(r"([A-Za-z_][\w/]*)=(\w+)", re.ASCII)
INTERPOLATION = re.compile(r"(\\*)\$\{")
MISSING_MARK = re.compile(r"\\*\?\?\?")
BACKSLASHES_BEFORE_QUOTE = re.compile(r'(\\+)(?="|\Z)')
# Names of people and things: texts also where one looks like a number or a truth value, such as 590750e8 or on.
TEXT_KEYS = (
    *("data.words", "data.unknown_words", "data.validation_speakers", "data.test_speakers"),
    *("name", "speaker", "word"),
)
# Numbers and truth values to us, for which Lightning takes texts such as auto too.
TEXTS_TOO = ("trainer.devices", "trainer.deterministic")
HAS_STRUCTURE = re.compile(r"""["'\[\]{}]|\$\{""")
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


def as_meant(override: str, is_multirun: bool = False) -> str:
    """The override with quotes where Hydra's grammar refuses a text, or reads something else: `[müde,no]`, `~/recs`.

    Raises:
        KwsError: there is more than one way to understand it.
    """
    key, sign, value = override.partition("=")
    if not sign or override.startswith("-"):
        return override
    readable = is_readable(override)
    if readable and key.lstrip("+") not in TEXT_KEYS:
        return override if is_multirun else single(override)
    is_list = value.startswith("[") and value.endswith("]")
    content = value[1:-1] if is_list else value
    if readable and "(" in content:
        return override  # choice(a,b) of a sweep
    if HAS_STRUCTURE.search(content):
        if readable:
            return override
        raise KwsError(f"{key} cannot be read from {value}: {way_to_mend(value)}")
    items = [item.strip() for item in content.split(",")] if is_list or is_multirun else [content]
    if "" in items and len(items) > 1:
        raise KwsError(f"{key} has a value too few in {value}: leave a comma out")
    texts = ",".join(map(as_text, items))
    return f"{key}=[{texts}]" if is_list else f"{key}={texts}"


def single(override: str) -> str:
    """The override itself.

    Raises:
        KwsError: it has several values, which only a sweep takes.
    """
    key, _, value = override.partition("=")
    if OverridesParser.create().parse_override(override).is_sweep_override():
        raise KwsError(
            f"{key} takes one value, got {value}: `kws train -m` trains once with each of several, a list stands in "
            f"brackets, and a text in quotes, as in {shlex.quote(f'{key}={quoted(value)}')}"
        )
    return override


def way_to_mend(value: str) -> str:
    for opening, closing in ("[]", "{}"):
        if value.count(opening) > value.count(closing):
            return f"{opening} is not closed, add {closing}, or put a text that has it into quotes"
    return "put texts with quotes or brackets into quotes, as in 'key=\"a [text]\"'"


def as_text(value: str) -> str:
    """A value that Hydra reads as this text, or as nothing where it is null."""
    if value.startswith("~/"):
        value = str(Path(value).expanduser())
    is_plain = is_readable(f"key={value}") and (
        value == "null"
        or isinstance(OverridesParser.create().parse_override(f"a={value}").value(), str)
    )
    return value if is_plain else quoted(value)


def is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def check_overrides(command: str, overrides: Sequence[str]) -> None:
    """Report in one line what Hydra would report in many.

    Raises:
        KwsError: a key is unknown, a group has no such choice, or a text is given for a number or a truth value.
    """
    before = ["", *overrides]
    given = [
        override
        for override, flag in zip(overrides, before)
        if not override.startswith("-") and flag not in FLAGS_WITH_VALUE
    ]
    if not given or any(override.startswith(CONFIG_FLAGS) for override in overrides):
        return  # nothing to check, or settings of the user's own
    chosen = []
    for override in given:
        choice = CHOICE.fullmatch(override)
        choices = choices_of(choice[1]) if choice else []
        if choices and choice[2] not in choices:
            raise KwsError(
                f"{choice[1]} must be one of {', '.join(choices)}, got {choice[2]}"
                + did_you_mean(choice[2], choices)
            )
        group, sign, value = override.partition("=")
        if sign and choices_of(group.lstrip("+")):
            chosen.append(f"{group}={value.partition(',')[0]}")  # of a sweep over choices the first
    settings = settings_with(command, chosen)
    for override in given:
        key = KEY.fullmatch(override)
        if settings and key and not choices_of(key[1]):
            check_override(command, key[1], key[2], settings)


def check_override(command: str, key: str, value: str | None, settings: Mapping[str, Any]) -> None:
    try:
        default = reduce(below, key.split("."), settings)
    except KeyError:
        known = [*dotted_names(settings), *settings["hydra"]["runtime"]["choices"]]
        last = key.rpartition(".")[2]
        same = [name for name in known if name.endswith(f".{last}") and "." not in key]
        raise KwsError(
            f"`kws {command}` has no setting {key!r}"
            + (f", and '{key}={value}' is no file" if "." not in key and value is not None else "")
            + (did_you_mean(key, known, same) or f": see `kws {command} --help`")
        ) from None
    if value is None or key in TEXTS_TOO or not isinstance(default, bool | int | float):
        return
    override = OverridesParser.create().parse_override(f"{key}={value}")
    is_text = not override.is_sweep_override() and isinstance(override.value(), str)
    if is_text and "${" not in value:
        wanted = "true or false" if isinstance(default, bool) else f"a number, such as {default}"
        raise KwsError(f"{key} must be {wanted}, got {value or 'nothing'}")


def settings_with(command: str, choices: Sequence[str]) -> dict[str, Any]:
    """The settings of a command with these choices; none where Hydra has its own complaint to make."""
    try:
        with initialize_config_dir(CONFIG_DIR):
            settings = compose(module_of(command), list(choices), return_hydra_config=True)
    except HydraException:
        return {}
    return OmegaConf.to_container(settings, resolve=False)


def below(settings: Any, name: str) -> Any:
    """What stands below a name; below an interpolation or a list anything may."""
    return settings[name] if isinstance(settings, Mapping) else None


def dotted_names(settings: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in settings.items():
        if f"{prefix}{name}" != "hydra":
            yield f"{prefix}{name}"
            if isinstance(value, Mapping):
                yield from dotted_names(value, f"{prefix}{name}.")


def did_you_mean(name: str, known: Iterable[str], alike: Sequence[str] = ()) -> str:
    alike = alike[:3] or get_close_matches(name, list(known))
    return f": did you mean {' or '.join(alike)}?" if alike else ""


def module_of(command: str) -> str:
    """The name of a command's module, and of its configuration: `check_data` of `check-data`."""
    return command.replace("-", "_")


def choices_of(group: str) -> list[str]:
    """The names of the configurations that a group consists of."""
    return sorted(path.stem for path in Path(CONFIG_DIR, group).glob("*.yaml"))


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
    return command_for(run_folder, "train", "resume=true")


def command_for(run_folder: Path, *words: str) -> str:
    """The shell command `kws ...` for a run."""
    folder = str(run_folder)
    value = folder if PLAIN.fullmatch(folder) else quoted(folder)
    return shlex.join(["kws", *words, f"run={value}"])
