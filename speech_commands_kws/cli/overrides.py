"""Quotes texts so that Hydra's command line reads them back unchanged."""

import re
import shlex
from pathlib import Path

INTERPOLATION = re.compile(r"(\\*)\$\{")
MISSING_MARK = re.compile(r"\\*\?\?\?")
BACKSLASHES_BEFORE_QUOTE = re.compile(r'(\\+)(?="|\Z)')
# Read back as they are without quotes.
PLAIN = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)


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
