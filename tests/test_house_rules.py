"""The rules of the house hold in every Python file; each is first shown to see a bad snippet."""

import ast
from pathlib import Path

import pytest
from house_rules import (
    Rule,
    broad_excepts,
    command_line_parsers,
    magic_numbers,
    module_level_code,
    os_path,
    process_exits,
    silenced_warnings,
    single_letter_names,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "speech_commands_kws"
# The commands' shared way out is the one place, beside each `main`, that ends the process.
WAY_OUT = "launch.py"
RULES_FOR_ALL = [
    single_letter_names,
    module_level_code,
    command_line_parsers,
    os_path,
    silenced_warnings,
    broad_excepts,
]
RULES_FOR_THE_PACKAGE = [*RULES_FOR_ALL, magic_numbers, process_exits]

BAD_SNIPPETS = [
    (single_letter_names, "def scale(x):\n    return x"),
    (single_letter_names, "def scale(*, gain, **o):\n    return gain"),
    (single_letter_names, "def scale(gain):\n    y: float = gain\n    return y"),
    (single_letter_names, "def scale(self):\n    self.g = 1"),
    (single_letter_names, "HALVES = [v / 2 for v in (1, 2)]"),
    (single_letter_names, "HALF = lambda v: v / 2"),
    (single_letter_names, "import numpy as n"),
    (single_letter_names, "from json import loads as l"),
    (
        single_letter_names,
        "def read():\n    try:\n        pass\n    except OSError as e:\n        raise e",
    ),
    (single_letter_names, "def read(path):\n    with open(path) as f:\n        return f"),
    (single_letter_names, "def walk():\n    for a, (b, i) in []:\n        pass"),
    (single_letter_names, "def walk():\n    while (n := 1):\n        pass"),
    (
        single_letter_names,
        "def match(item):\n    match item:\n        case [h, *t]:\n            pass",
    ),
    (single_letter_names, "def f():\n    pass"),
    (single_letter_names, "T = TypeVar('T')"),
    (single_letter_names, "def scale(_x):\n    return _x"),
    (module_level_code, "cache = {}"),
    (module_level_code, "cache: dict = {}"),
    (module_level_code, "SIZE, rest = 1, 2"),
    (module_level_code, "print('hello')"),
    (module_level_code, "import os\n'a text that is no docstring'"),
    (module_level_code, "for i in range(2):\n    pass"),
    (module_level_code, "try:\n    import torch\nexcept ImportError:\n    torch = None"),
    (module_level_code, "if TYPE_CHECKING:\n    SIZE = 1"),
    (module_level_code, "if __name__ == '__main__':\n    main()\n    main()"),
    (module_level_code, "if __name__ == '__main__':\n    answer = main()"),
    (magic_numbers, "def rate():\n    return 16000"),
    (magic_numbers, "def rate(hop=160):\n    return hop"),
    (magic_numbers, "def floor():\n    return -1e-6"),
    (magic_numbers, "class Front:\n    hop: int = 160"),
    (magic_numbers, "@retry(5)\ndef read():\n    pass"),
    (magic_numbers, "def rate():\n    LIMIT = 5\n    return LIMIT"),
    (command_line_parsers, "import argparse"),
    (command_line_parsers, "def main():\n    from argparse import ArgumentParser"),
    (os_path, "import os.path"),
    (os_path, "from os import path"),
    (os_path, "from os.path import join"),
    (os_path, "import os\nHOME = os.path.join('a', 'b')"),
    (silenced_warnings, "warnings.filterwarnings('ignore')"),
    (silenced_warnings, "def read():\n    simplefilter(action='ignore', category=UserWarning)"),
    (
        silenced_warnings,
        "def read():\n    with warnings.catch_warnings(action='ignore'):\n        pass",
    ),
    (silenced_warnings, "@pytest.mark.filterwarnings('ignore:old')\ndef test():\n    pass"),
    (broad_excepts, "try:\n    pass\nexcept:\n    pass"),
    (broad_excepts, "try:\n    pass\nexcept Exception:\n    raise"),
    (broad_excepts, "try:\n    pass\nexcept (OSError, builtins.BaseException) as error:\n    pass"),
    (broad_excepts, "with contextlib.suppress(Exception):\n    pass"),
    (process_exits, "def stop():\n    sys.exit(1)"),
    (process_exits, "from sys import exit"),
    (process_exits, "def stop():\n    raise SystemExit(1)"),
    (process_exits, "def stop():\n    raise SystemExit"),
    (process_exits, "def main():\n    pass\n\n\ndef stop():\n    exit()"),
]

GOOD_MODULE = '''"""A module as it should be."""

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Front", "main"]
SAMPLE_RATE = 16_000
WINDOWS_MS: tuple[int, ...] = (25, 30)
RED, GREEN = 10, 20
Waveform = np.ndarray[tuple[int], np.dtype[np.float32]]


class Front:
    HOP_MS = 10

    def __init__(self, scale: float = 0.5) -> None:
        self.scale = scale


def main(waveform: "torch.Tensor", axis: int = -1) -> float:
    text = f"{os.fspath('a'):.3f}"
    try:
        values = [waveform[i, j] for i in range(2) for j, _ in enumerate(text)]
    except (ValueError, OSError) as error:
        raise SystemExit(1) from error
    return values[0] * 1.0


if __name__ == "__main__":
    main()
'''


def rule_name(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("rule", "source"), BAD_SNIPPETS, ids=rule_name)
def test_rule_sees_the_bad_snippet(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source)))


@pytest.mark.parametrize("rule", RULES_FOR_THE_PACKAGE, ids=rule_name)
def test_rule_leaves_good_code_alone(rule: Rule) -> None:
    assert list(rule(ast.parse(GOOD_MODULE))) == []


def test_every_rule_has_a_bad_snippet() -> None:
    assert {rule for rule, _ in BAD_SNIPPETS} == set(RULES_FOR_THE_PACKAGE)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def complaints(paths: list[Path], rule: Rule) -> list[str]:
    found = []
    for path in paths:
        lines = rule(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        found += [f"{path.relative_to(ROOT)}:{line}: {message}" for line, message in lines]
    return found


@pytest.mark.parametrize("rule", RULES_FOR_THE_PACKAGE, ids=rule_name)
def test_package_keeps_the_rule(rule: Rule) -> None:
    files = python_files(PACKAGE)
    assert files
    if rule is process_exits:
        files = [path for path in files if path.name != WAY_OUT]
    found = complaints(files, rule)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", RULES_FOR_ALL, ids=rule_name)
def test_tests_and_benchmarks_keep_the_rule(rule: Rule) -> None:
    found = complaints(python_files("tests", "benchmarks"), rule)
    assert not found, "\n" + "\n".join(found)
