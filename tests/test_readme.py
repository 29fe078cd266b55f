"""What the README tells a reader to type works: every command of its shell blocks.

All of them compose; those that need neither recordings of people nor a server are typed, in the
README's order and in one folder, with little data and two epochs. So are the cells of the tutorial.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import NO_SERVER
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib import pyplot
from omegaconf import DictConfig

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.commands import COMMANDS, module_of, to_overrides

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_BLOCK = re.compile(r"^```(?:bash|sh|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# As jupytext makes cells of a page.
CELL = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAKE_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
MODULE_PREFIX = "speech_commands_kws."
OTHER_PROGRAMS = set(". source arecord cd cat git mlflow pip poetry pre-commit".split())
SEPARATORS = "|&;<>"
MADE_HERE = {"synthetic", "folder", "mixed"}
# They need a microphone or another model, end when they are told to, or tell of the machine by their status.
NOT_TYPED = {"doctor", "enroll", "listen", "mine", "record", "serve", "tune"}
MULTIRUN = "-m"
SHORT = "trainer.max_epochs=2"
LITTLE_SPEECH = (
    "data.source.speakers=20 data.source.takes_per_word=1 data.source.unknown_per_speaker=2"
    " data.source.noise_seconds=4 data.source.babbles=1"
)
# Enough speakers for the published rule to find some for validation.
SPEAKERS = ["theo", *(f"speaker{i}" for i in range(30))]


def shell_lines(text: str) -> list[str]:
    """The lines of the shell blocks, those that a backslash continues joined, without comments."""
    lines = "\n".join(SHELL_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def programs(line: str) -> Iterator[list[str]]:
    """The programs that a line runs, each with its arguments; redirections are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=SEPARATORS)
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if words[-1:] in (["<"], [">"]):
            words.pop()
        elif set(token) <= set(SEPARATORS) - set("<>"):
            if words:
                yield words
            words = []
        else:
            words.append(token)


def command_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The command of ours that `kws NAME ...` or `python -m ...` runs, and Hydra's arguments."""
    match words:
        case ["kws", name, *arguments] if name in COMMANDS:
            return name, to_overrides(name, arguments)
        case ["python", "-m", module, *arguments] if module.startswith(MODULE_PREFIX):
            return module.removeprefix(MODULE_PREFIX), arguments
    return None


def single_value(override: str) -> str:
    """An override as one job of a multirun gets it: `lr=0.1,0.2` is `lr=0.1`."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    value = parsed.value()
    first = value.start if hasattr(value, "start") else next(parsed.sweep_string_iterator())
    return f"{parsed.get_key_element()}={first}"


def composed(command: str, arguments: list[str]) -> DictConfig:
    overrides = [single_value(word) for word in arguments if not word.startswith("-")]
    with initialize_config_dir(CONFIG_DIR):
        return compose(module_of(command), overrides)


def commands_of(line: str) -> list[tuple[str, DictConfig]]:
    """The commands of ours in a line, with their configurations."""
    found = [command_of(words) for words in programs(line)]
    return [(command[0], composed(*command)) for command in found if command]


def is_for_any_machine(line: str) -> bool:
    """Whether a line runs commands of ours only, on data that is made here."""
    others = [words[0] for words in programs(line) if not command_of(words)]
    for command, config in commands_of(line):
        if command in NOT_TYPED or "url" in config.get("backend", {}):
            return False
    data = {config.get("data", {}).get("name", "synthetic") for _, config in commands_of(line)}
    return bool(data) and data <= MADE_HERE and set(others) <= {"cat"}


def sweeps(line: str) -> bool:
    found = [command_of(words) for words in programs(line)]
    return any(command and MULTIRUN in command[1] for command in found)


def lines_for_any_machine(lines: list[str]) -> Iterator[str]:
    """In order; what follows a training on recordings that are not here is about that training.

    Without sweeps, which the tests of sweeps run.
    """
    latest_run_is_here = False
    for line in lines:
        if sweeps(line):
            continue
        if any(command == "train" for command, _ in commands_of(line)):
            latest_run_is_here = is_for_any_machine(line)
        if latest_run_is_here and is_for_any_machine(line):
            yield line


def shortened(line: str) -> str:
    """A line that makes data or trains, with little speech and two epochs; one that evaluates, on few clips."""
    for command, config in commands_of(line):
        if command == "download":
            return f"{line} {LITTLE_SPEECH}"
        if command == "train" and not config.resume:
            little = LITTLE_SPEECH if config.data.name == "synthetic" else ""
            if config.data.name == "mixed":
                little = LITTLE_SPEECH.replace("data.source", "data.spoken.source")
            return f"{line} {SHORT} {little}"
        if command == "evaluate":
            return f"{line} robustness.clips=2"
    return line


LINES = shell_lines(README)
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize(
    "title", ["Setup", "Train", "Production preparation", "Infer"], ids=lambda title: title
)
def test_readme_has_the_section(title: str) -> None:
    assert re.search(rf"^## {title}$", README, re.MULTILINE)


def test_readme_shows_every_command() -> None:
    shown = {found[0] for line in LINES for words in programs(line) if (found := command_of(words))}
    assert sorted(set(COMMANDS) - shown) == []


@pytest.mark.parametrize("line", LINES)
def test_line_of_the_readme_is_understood(line: str) -> None:
    for words in programs(line):
        if command := command_of(words):
            composed(*command)
        elif words[0] == "make":
            targets = {word for word in words[1:] if "=" not in word}
            assert targets <= set(MAKE_TARGET.findall((ROOT / "Makefile").read_text("utf-8")))
        elif words[0] == "python":
            assert words[1] == "-m" or (ROOT / words[1]).is_file()
        else:
            assert words[0] in OTHER_PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_documentation_are_understood(page: Path) -> None:
    for line in shell_lines(page.read_text(encoding="utf-8")):
        if line.startswith(("kws ", "python -m ")):
            commands_of(line)


def test_unknown_options_are_seen() -> None:
    """The checks above do fail."""
    with pytest.raises(Exception, match="learning_rate"):
        composed("train", ["optimizer.learning_rate=0.1"])
    assert list(programs("cat a.wav | kws infer - > out.csv  # heard")) == [
        ["cat", "a.wav"],
        ["kws", "infer", "-"],
    ]
    assert single_value("optimizer.lr=0.03,0.1") == "optimizer.lr=0.03"
    unheard, evaluate = "kws train data=speech_commands data.root=elsewhere", "kws evaluate"
    assert list(lines_for_any_machine([unheard, evaluate])) == []
    assert list(lines_for_any_machine(["kws train", evaluate])) == ["kws train", evaluate]
    assert shell_lines("```bash\nmake \\\n  test\n# no\n```\n```\nkws\n```\n") == ["make    test"]


@pytest.fixture
def readers_folder(tmp_path: Path, tiny_onnx: Path, burst_wav: Callable[..., Path]) -> Path:
    """A folder with what the README calls the reader's own: recordings and a model file."""
    burst_wav("recording.wav", "yes")
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.read_bytes())
    for speaker in SPEAKERS:
        for word, keyword in (("lights", "yes"), ("music", "no"), ("door", "_unknown_")):
            burst_wav(f"recordings/{word}/{speaker}.flac", keyword)
        for digit, keyword in enumerate(("yes", "no")):
            burst_wav(f"digits/{digit}_{speaker}_0.wav", keyword)
    return tmp_path


def type_in(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **NO_SERVER, "PATH": path}
    shell = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.integration
def test_lines_of_the_readme_run_one_after_the_other(readers_folder: Path) -> None:
    typed = list(lines_for_any_machine(LINES))
    assert typed
    for line in typed:
        done = type_in(shortened(line), readers_folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.integration
@pytest.mark.parametrize("block", PYTHON_BLOCK.findall(README))
def test_python_of_the_readme_runs(block: str, readers_folder: Path) -> None:
    script = readers_folder / "block.py"
    script.write_text(block, encoding="utf-8")
    done = type_in(f"python {script.name}", readers_folder)
    assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.integration
def test_cells_of_the_tutorial_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    names: dict[str, object] = {}
    for language, cell in CELL.findall((ROOT / "docs" / "tutorial.md").read_text("utf-8")):
        if language == "python":
            exec(compile(cell, "tutorial.md", "exec"), names)
            continue
        done = type_in("\n".join(map(shortened, cell.splitlines())), tmp_path)
        assert done.returncode == 0, f"{cell}\n{done.stdout}\n{done.stderr}"
    pyplot.close("all")
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"detection.png", "scores.png", "voices.png"}
