"""The dispatcher: what is an override and what a file, and names that survive Hydra's grammar."""

import json
import os
import random
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from speech_commands_kws import commands
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.cli.overrides import (
    as_meant,
    check_overrides,
    dotted_names,
    module_of,
    quoted,
    settings_with,
    split_arguments,
)
from speech_commands_kws.commands import COMMANDS, to_overrides
from speech_commands_kws.errors import KwsError

REPOSITORY = Path(__file__).resolve().parent.parent
HOSTILE_NAMES = [
    "two words.wav",
    " leading and trailing ",
    "rec(1).wav",
    "rec[1].wav",
    "a,b.wav",
    "d'accord.wav",
    'say "yes".wav',
    "both'\".wav",
    "a=b.wav",
    "top_k=1",
    "{braces}.wav",
    "~tilde.wav",
    "$dollar.wav",
    "${oc.env:HOME}.wav",
    "\\${oc.env:HOME}.wav",
    "\\\\${model}.wav",
    "${unclosed.wav",
    "$${model}.wav",
    "back\\slash.wav",
    "ends with a backslash\\",
    'quote after a backslash\\".wav',
    "new\nline.wav",
    "tab\there.wav",
    "null",
    "true",
    "1e3",
    "???",
    "\\???",
    "what???",
    "naïve – 你好 😀.wav",
    os.fsdecode(b"caf\xe9.wav"),
    "-dash.wav",
    "--double-dash.wav",
    "#hash;semi&colon|pipe.wav",
    "%percent!bang^caret`tick.wav",
    "@at+plus.wav",
    "a:b.wav",
    "*.wav",
    "[bold]rich.wav",
    "choice(a,b)",
]
# Everything that means something to the grammars of Hydra and OmegaConf, and letters between.
HOSTILE_CHARACTERS = "ab\\\\\\\"\"''${}{}$?[](),=: ~.-/*@|#%&;!<>éñ你😀\t\n+^`01"


def read_back(key: str, value: str) -> object:
    with initialize_config_dir(CONFIG_DIR):
        value = compose("infer", [f"{key}={value}"])[key]
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_one_name_survives_hydra(name: str) -> None:
    assert read_back("model", quoted(name)) == name


def test_a_list_of_names_survives_hydra() -> None:
    generator = random.Random(0)
    names = ["".join(generator.choices(HOSTILE_CHARACTERS, k=1 + i % 12)) for i in range(1_000)]
    names += HOSTILE_NAMES
    assert read_back("input", f"[{','.join(map(quoted, names))}]") == names


def test_hostile_files_are_answered(
    tiny_onnx: Path,
    burst_wav: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole way: bare names into `kws infer`, answers under the same names."""
    monkeypatch.chdir(tmp_path)
    for name in HOSTILE_NAMES:
        burst_wav("clip", "yes", format="WAV").rename(tmp_path / name)
    arguments = [*HOSTILE_NAMES, f"model={tiny_onnx}", "format=json"]
    monkeypatch.setattr(sys, "argv", ["kws", "infer", *arguments])
    assert commands.main() == 0
    output = capsys.readouterr()
    assert output.err == ""
    answers = json.loads(output.out)
    assert [answer["file"] for answer in answers] == HOSTILE_NAMES
    assert {answer["label"] for answer in answers} == {"yes"}


@pytest.mark.parametrize("key", ["infer", "describe", "evaluate", "train"])
def test_overrides_and_flags_stay_what_they_are(key: str) -> None:
    arguments = [
        "paths=default", "paths.root=c", "+a=1", "++a.b=1", "paths=", "~paths", "~paths.runs=1",
        "paths/part@a.b=c", "hydra/launcher=joblib", "hydra.verbose=true",
        "paths[0]=1", "--cfg", "job", "-c", "all", "--help", "-p", "paths", "--resolve",
    ]  # fmt: skip
    assert to_overrides(key, arguments) == arguments


def test_a_configuration_of_ones_own_has_keys_of_its_own() -> None:
    arguments = ["--config-dir=x", "novel.key=1"]
    assert to_overrides("train", arguments) == arguments


def test_only_trainings_are_started_several_times() -> None:
    assert to_overrides("train", ["seed=1,2", "-m"]) == ["seed=1,2", "-m"]
    for command in set(COMMANDS) - {"train"}:
        for flag in ("-m", "--multirun"):
            with pytest.raises(KwsError, match=f"`kws {command}` runs once: leave out {flag}"):
                to_overrides(command, ["paths.root=a,b", flag])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_a_configuration_is_known(command: str) -> None:
    keys = list(dotted_names(settings_with(command, [])))
    assert {"paths.root", "targets"} < set(keys)
    check_overrides(command, [f"{key}=1" for key in keys if key.startswith("paths.")])


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    monkeypatch.setattr(sys, "argv", ["kws", "--version"])
    assert commands.main() == 0
    assert capsys.readouterr().out == f"{pyproject['project']['version']}\n"


def test_names_are_told_from_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("top_k=3", "~backend", "-odd", "-m"):
        (tmp_path / name).touch()
    arguments = [
        "top_k=3", "top_k=4", "~backend", "~paths", "-odd", "-other", "-m", "-", "*.wav", "no.wav",
        "~/home.wav", "my file=1.wav", "--", "-m", "top_k=5",
    ]  # fmt: skip
    assert split_arguments(arguments) == (
        ["top_k=4", "~paths", "-other", "-m"],
        ["top_k=3", "~backend", "-odd", "-", "*.wav", "no.wav", "~/home.wav", "my file=1.wav",
         "-m", "top_k=5"],
    )  # fmt: skip


def test_files_become_one_override() -> None:
    assert to_overrides("infer", ["a b.wav", "top_k=1", "-"]) == [
        "top_k=1",
        'input=["a b.wav","-"]',
    ]
    assert to_overrides("describe", ["a b.onnx"]) == ['model="a b.onnx"']
    assert to_overrides("evaluate", ["x.ckpt", "split=test"]) == ["split=test", 'model="x.ckpt"']
    assert to_overrides("infer", []) == []
    assert to_overrides("leaderboard", ["top=3", "optimizer.lr >= 0.1 and data = tones"]) == [
        "top=3",
        'where="optimizer.lr >= 0.1 and data = tones"',
    ]


@pytest.mark.parametrize(
    ("command", "arguments", "reason"),
    [
        (
            "hear",
            [],
            "unknown command 'hear': choose from train, evaluate, export, tune, mine, infer",
        ),
        ("train", ["seed=1", "foo.wav"], "takes settings such as key=value, got 'foo.wav'"),
        ("export", ["model.onnx"], "takes settings such as key=value, got 'model.onnx'"),
        ("infer", ["nothere=x.wav"], "no setting 'nothere', and 'nothere=x.wav' is no file"),
        ("train", ["experimnt=gsc12"], "no setting 'experimnt'.* did you mean experiment"),
        ("train", ["optimiser.lr=1"], "no setting 'optimiser.lr': did you mean optimizer.lr"),
        ("train", ["optimizer.lrr=1"], "no setting 'optimizer.lrr': did you mean optimizer.lr"),
        ("train", ["lr=1"], "no setting 'lr', and 'lr=1' is no file: did you mean optimizer.lr"),
        ("train", ["optimizer.lr=fast"], "optimizer.lr must be a number, such as 0.1, got fast"),
        ("train", ["optimizer.nesterov=maybe"], "optimizer.nesterov must be true or false"),
        ("train", ["data.words=[a"], r"data.words cannot be read from .a: . is not closed, add ]"),
        ("train", ["data.root=${x"], r"data.root cannot be read from ..x: { is not closed, add }"),
        ("train", ["name=a]'"], "name cannot be read from a]': put texts with quotes or brackets"),
        (
            "train",
            ["data.words=[a,,b]"],
            r"data.words has a value too few in .a,,b.: leave a comma",
        ),
        ("train", ["optimizer.lr=[1,,2]"], r"optimizer.lr has a value too few in .1,,2.: leave"),
        (
            "train",
            ["optimizer.lr=1,5"],
            "optimizer.lr takes one value, got 1,5: `kws train -m` trains",
        ),
        (
            "train",
            ["augment=robust,none"],
            "augment takes one value, got robust,none: `kws train -m`",
        ),
        ("infer", ["paths.root=/tmp/a,b"], r"in quotes, as in 'paths.root=\"/tmp/a,b\"'$"),
        ("trian", [], "unknown command 'trian': .*did you mean train"),
        ("describe", ["a.onnx", "b.onnx"], "takes one model, got 2"),
        ("infer", ["a.wav", "input=b.wav"], "input is given twice"),
        ("evaluate", ["a.onnx", "model=b.onnx"], "model is given twice"),
    ],
)
def test_a_senseless_command_line_is_one_line(
    command: str,
    arguments: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KwsError, match=reason):
        to_overrides(command, arguments)
    monkeypatch.setattr(sys, "argv", ["kws", command, *arguments])
    assert commands.main() == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ") and output.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kws", *arguments])
    assert commands.main() == 0
    lines = capsys.readouterr().out.splitlines()
    for command, purpose in COMMANDS.items():
        assert any(line.split() == [command, *purpose.split()] for line in lines)


def test_every_command_has_a_module_and_a_configuration() -> None:
    for command in COMMANDS:
        name = module_of(command)
        assert (REPOSITORY / "speech_commands_kws" / f"{name}.py").is_file()
        assert (REPOSITORY / "configs" / f"{name}.yaml").is_file()


def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with the base dependencies alone: `train` imports torch, which is not there."""

    def import_without_torch(name: str) -> None:
        assert name == "speech_commands_kws.train"
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(commands, "import_module", import_without_torch)
    monkeypatch.setattr(sys, "argv", ["kws", "train"])
    assert commands.main() == 1
    assert capsys.readouterr().err == (
        'error: torch is not installed: pip install "speech-commands-kws[train]"\n'
    )


def test_kws_equals_the_module(tiny_onnx: Path, burst_wav: Callable, tmp_path: Path) -> None:
    """The two ways to start find the same configuration and say the same."""
    burst_wav("yes.wav", "yes")
    arguments = [f"model={tiny_onnx}", "format=csv", "input=[yes.wav,no.wav]"]
    script = "import sys; from speech_commands_kws.commands import main; sys.exit(main())"
    results = [
        subprocess.run(
            [sys.executable, *way, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        for way in (["-c", script, "infer"], ["-m", "speech_commands_kws.infer"])
    ]
    assert results[0].stdout == results[1].stdout != ""
    assert (
        results[0].stderr == results[1].stderr == "error: no.wav does not exist: check the name\n"
    )
    assert results[0].returncode == results[1].returncode == 1


@pytest.mark.parametrize(
    ("override", "got"),
    [("augment=null", "null"), ("augment=robast", "robast: did you mean robust\\?")],
)
def test_a_choice_that_a_group_does_not_have_is_one_line(override: str, got: str) -> None:
    with pytest.raises(
        KwsError, match=f"augment must be one of none, recipe, robust, streams, got {got}$"
    ):
        to_overrides("train", [override])


def test_choices_that_a_group_has_and_sweeps_over_them_pass() -> None:
    choices = ["augment=robust", "data=folder", "hydra/launcher=joblib", "sweep/pruner=none"]
    given = [*choices, "augment=none,recipe", "seed=1", "name=", "-m"]
    assert to_overrides("train", given) == given


def test_a_working_folder_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", ["kws", "infer", "x.wav"])
    assert commands.main() == 1
    assert capsys.readouterr().err.startswith("error: the working folder has been removed")


def test_an_interruption_while_modules_load_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "import_module", interrupt)
    monkeypatch.setattr(sys, "argv", ["kws", "train"])
    assert commands.main() == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(
    ("given", "key", "meant"),
    [
        ("data.words=[müde,no]", "data.words", ["müde", "no"]),
        ("data.words=[on, true,1]", "data.words", ["on", "true", "1"]),
        ("data.words=null", "data.words", None),
        ("data.root=ré", "data.root", "ré"),
        ("data.root=~/recs", "data.root", str(Path.home() / "recs")),
        ("data.root=/my recs (1)/a", "data.root", "/my recs (1)/a"),
        ("name=590750e8", "name", "590750e8"),
        ("data.test_speakers=[590750e8]", "data.test_speakers", ["590750e8"]),
        ("++data.test_speakers=[590750e8]", "data.test_speakers", ["590750e8"]),
        ("name=müde", "name", "müde"),
        ("optimizer.lr=0.2", "optimizer.lr", 0.2),
    ],
)
def test_a_value_is_taken_as_it_was_meant(given: str, key: str, meant: object) -> None:
    overrides = to_overrides("train", ["data=folder", given])
    with initialize_config_dir(CONFIG_DIR):
        value = OmegaConf.select(compose("train", overrides), key)
    assert (list(value) if OmegaConf.is_list(value) else value) == meant


def test_words_of_a_sweep_stay_several() -> None:
    assert to_overrides("train", ["-m", "name=é,b"]) == ["-m", 'name="é",b']
    assert to_overrides("train", ["-m", "data.words=[a,b],[c,d]"])[1] == "data.words=[a,b],[c,d]"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_a_page_and_says_what_its_settings_are(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kws", command, "--help"])
    monkeypatch.setattr(commands, "import_module", None)  # nothing slow is loaded
    assert commands.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: kws {command} ") and len(lines) <= 66
    begin = lines.index("settings and their defaults:") + 1
    settings = lines[begin : lines.index("", begin)]
    keys = [i for i, line in enumerate(settings) if not line.startswith("      ")]
    assert len(keys) <= 10 and "kws" not in settings[-1] and len(settings) - 1 not in keys
    assert all("=" in settings[i] and i + 1 not in keys for i in keys)
    assert max(map(len, lines)) <= 120
    assert max(map(len, lines[begin + len(settings) : lines.index("examples:")])) <= 79


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_are_valid(command: str) -> None:
    for example in commands.EXAMPLES[command]:
        to_overrides(command, shlex.split(example))


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["-c", "job"], ["--info", "defaults"]])
def test_what_belongs_to_a_flag_is_no_setting(flags: list[str]) -> None:
    check_overrides("train", flags)
    with pytest.raises(KwsError, match="no setting 'job'"):
        check_overrides("train", ["~job"])


def test_a_sweep_over_choices_of_a_name_stays_one() -> None:
    assert as_meant("name=choice(a,b)", is_multirun=True) == "name=choice(a,b)"
