"""What git keeps: no data, no models, no traces of the machine, and file names that say something."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VAGUE_STEMS = {"utils", "util", "common", "helpers", "helper", "misc"}
# A message in docs/troubleshooting.md, `…` in the place of what differs.
MESSAGES = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Of a text beside what differs; shorter ones could be any message.
LEAST_CHARACTERS = 20
SNAKE_CASE = re.compile(r"[a-z_][a-z0-9_]*")
DATA_SUFFIXES = {
    *".wav .flac .ogg .mp3 .npy .npz .csv .tsv .json .jsonl .parquet .h5 .hdf5".split(),
    *".pkl .pickle .joblib .db .sqlite .zip .gz .tar .bin .ckpt .pt .pth .cbm".split(),
    *".safetensors .onnx .engine .plan .trt .tflite".split(),
}
# Settings of programs that read no other format.
SETTINGS = {"web/package.json", "web/package-lock.json", "web/tsconfig.json"}
# Modules without a test file of their own name, and the one that tests them through what uses them.
TESTED_IN = {
    # They are what a command does, and take what its test has made.
    "assembly/enrolment": "test_enroll.py",
    "assembly/evaluation": "test_evaluate.py",
    # One table of all effects: shares, seeds, finite values.
    "augment/channel": "augment/test_effects.py",
    "augment/level": "augment/test_effects.py",
    "augment/mixup": "augment/test_effects.py",
    "augment/reverberation": "augment/test_effects.py",
    "augment/subset": "augment/test_effects.py",
    "augment/tempo": "augment/test_effects.py",
    # Both clients answer to the same server in the same tests.
    "inference/backends/triton_async": "inference/backends/test_triton.py",
    # Compiled loops, compared with the same network in torch.
    "models/cpu_training/passes": "models/test_bc_resnet.py",
}
# Split, so that this file passes its own test: paths of a machine, hosts of package indexes.
MACHINE_TEXTS = ["/" + "work/", "/" + "root/", "/tmp/" + "kws"]
INDEX_TEXTS = ["python" + "hosted", "pypi" + ".org", "npm" + "js.org"]


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    names = [name for name in listing.stdout.split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_an_empty_remote_is_refused() -> None:
    make = ["make", "--old-file=setup", "data-remote", "REMOTE= "]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("error: expected REMOTE=/path or REMOTE=gdrive://<folder>, got")


def is_ignored(path: str) -> bool:
    answer = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT)
    if answer.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    return answer.returncode == 0


def test_python_files_are_named_for_their_subject() -> None:
    stems = {path.stem for path in tracked_files() if path.suffix == ".py"}
    assert sorted(stems & VAGUE_STEMS) == []
    assert sorted(stem for stem in stems if not SNAKE_CASE.fullmatch(stem)) == []


@pytest.mark.parametrize("test_file", sorted({*TESTED_IN.values()}))
def test_a_test_that_stands_for_others_is_there(test_file: str) -> None:
    assert (ROOT / "tests" / test_file).is_file()


def test_every_module_has_its_mirror_among_the_tests() -> None:
    package, wrong = ROOT / "speech_commands_kws", []
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).with_suffix("")
        mirror = ROOT / "tests" / module.parent / f"test_{module.name}.py"
        if path.stem != "__init__" and mirror.is_file() == (module.as_posix() in TESTED_IN):
            wrong.append(mirror.relative_to(ROOT).as_posix())
    assert wrong == [], "missing, or named in TESTED_IN although it is there"


def test_git_keeps_no_data_and_no_models() -> None:
    kept = [path for path in tracked_files() if path.suffix.lower() in DATA_SUFFIXES]
    assert {path.relative_to(ROOT).as_posix() for path in kept} - SETTINGS == set()


def test_git_keeps_no_machine_paths_and_no_index_addresses() -> None:
    found = []
    for path in tracked_files():
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
        for i, line in enumerate(lines, start=1):
            texts = [text for text in MACHINE_TEXTS + INDEX_TEXTS if text in line]
            found += [f"{path.relative_to(ROOT)}:{i}: {text}" for text in texts]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "path",
    [
        "speech_commands_kws/data/packed.py",
        "tests/data/test_packed.py",
        "configs/data/synthetic.yaml",
        "data/speech_commands.dvc",
        "data/.gitignore",
        "plots/loss.png",
        "model_repository/README.md",
        "web/package-lock.json",
    ],
)
def test_git_sees_the_projects_own_files(path: str) -> None:
    """A bare `data/` in .gitignore would swallow the package's data module."""
    assert not is_ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        "data/speech_commands/yes/clip.wav",
        "plots/runs/today/loss.png",
        "plots/mlflow.db",
        "plots/mlflow.db.lock",
        "plots/studies.db",
        "plots/studies.db-journal",
        "plots/study.log",
        "outputs/today/train.log",
        "recordings/lights/anna_nohash_0.wav",
        "check.png",
        "report.html",
        "scores.json",
        "talk.wav",
        "tutorial.ipynb",
        "model_repository/spotter/1/model.onnx",
        "web/node_modules/vite/package.json",
        "speech_commands_kws/page/index.html",
        ".venv/bin/python",
        ".tools/poetry/bin/poetry",
    ],
)
def test_git_ignores_what_commands_leave(path: str) -> None:
    assert is_ignored(path)


def texts_of(source: str) -> set[str]:
    """The texts of a module, with `…` for each value put into them."""
    texts = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(re.sub(r"%[.\d]*[a-z]", "…", node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            texts.add("".join(parts))
    return texts


def is_of(message: str, text: str) -> bool:
    """Whether a text with `…` for what differs makes the message."""
    return re.fullmatch(".+".join(map(re.escape, text.split("…"))), message) is not None


def test_messages_of_troubleshooting_are_those_of_the_code() -> None:
    documented = MESSAGES.findall((ROOT / "docs" / "troubleshooting.md").read_text("utf-8"))
    messages = [message for block in documented for message in block.splitlines()]
    package = (ROOT / "speech_commands_kws").rglob("*.py")
    texts = set().union(*(texts_of(path.read_text("utf-8")) for path in package))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    texts.add(re.search("error: needs Python.*tried: ", makefile)[0] + "…")
    texts = {text for text in texts if len(text.replace("…", "")) > LEAST_CHARACTERS}
    assert len(messages) > 10
    assert [line for line in messages if not any(is_of(line, text) for text in texts)] == []
