"""Mistakes a user can correct, and how a name is shown to him."""

import re
from importlib.metadata import PackageNotFoundError, requires

DISTRIBUTION = "speech-commands-kws"
SUMMARY_CHARACTERS = 500
EXTRA = re.compile(r"""([\w.-]+).*; extra == ["']([\w-]+)["']""")


class KwsError(Exception):
    """A mistake the user can correct.

    The message is one line that says what was expected, what came and what to do. Commands print it without a
    traceback and exit with status 1.
    """


class ReportedError(KwsError):
    """The end of a command that has printed each mistake as it met it and went on; nothing is left to print."""


def display_name(source: object) -> str:
    """The name of a file, stream or anything else as one printable line."""
    if hasattr(source, "read"):
        source = getattr(source, "name", "<stream>")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(source)
    )


def summarize_error(error: object, limit: int = SUMMARY_CHARACTERS) -> str:
    """What an error says, as one line of at most `limit` characters; the name of its class where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def missing_package(error: ModuleNotFoundError) -> KwsError:
    """The same news for a user: what to install. Any other failing import is a bug and stays one."""
    package = (error.name or "").partition(".")[0].replace("_", "-")
    try:
        requirements = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # a copy that was never installed
        raise error from None
    for found in filter(None, map(EXTRA.match, requirements)):
        # `import cuda` is of cuda-bindings, `import hydra_plugins` of hydra-optuna-sweeper.
        plugin = found[1].replace("hydra-optuna-sweeper", "hydra-plugins")
        if package in (found[1], found[1].removesuffix("-bindings"), plugin):
            return KwsError(
                f'{error.name.partition(".")[0]} is not installed: pip install "{DISTRIBUTION}[{found[2]}]"'
            )
    raise error
