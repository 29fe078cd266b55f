"""The layers of the package, and what a fresh interpreter holds after an import."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from triton_stand_in import stand_in

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "speech_commands_kws"
PYTHONPATH = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])

# A room imports from the rooms before it, and from itself.
ORDER = (
    "errors labels files cli models audio augment inference data evaluation training tracking packaging "
    "figures serving sweeps assembly"
).split()
# At the root lie the commands, which import any room and not each other.
COMMANDS = (
    "train evaluate export bundle enroll tune mine infer listen demo serve describe doctor record check_data "
    "check_word download pack leaderboard commands"
).split()
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
# `training --> models & errors` in the picture.
ARROWS = re.compile(r"^ *(\w+) --> (.+)$", re.MULTILINE)
# The packages from outside that stand at the top of a room's modules, where that is bounded.
OUTSIDE = {
    "errors": set(),
    "labels": set(),
    "files": {"filelock"},
    "models": {"numba", "numpy", "onnx", "torch", "torchaudio"},
    "audio": {"numpy", "pyroomacoustics", "soundfile", "soxr"},
    "augment": {"numpy", "torch", "torchaudio"},
    "inference": {"numpy", "rich"},
    "tracking": {"lightning", "mlflow", "numpy", "omegaconf", "psutil", "rich", "yaml"},
    "packaging": {"numpy", "onnx", "onnxruntime", "onnxscript", "scipy", "torch"},
    # What Triton's process has around the backend that it runs.
    "serving": {"aiohttp", "numpy", "onnxruntime", "triton_python_backend_utils", "wyoming"},
}
ENGINES = {"aiohttp", "cuda", "gevent", "onnxruntime", "sounddevice", "tensorrt", "tritonclient"}
DRAWING = {"librosa", "matplotlib"}
# Where MLflow may be used.
USES_MLFLOW = {"tracking", "sweeps"}
# The one module that uses DVC, inside functions, since what is there already needs none.
USES_DVC = f"{PACKAGE}.files.dvc"
# What the base dependencies do not bring, or what is too slow to load for an answer.
HEAVY = (
    "torch torchaudio lightning mlflow dvc librosa matplotlib onnx optuna sqlalchemy tritonclient aiohttp wyoming"
).split()
# What Windows lacks; macOS has them.
POSIX_ONLY = ["fcntl", "grp", "pwd", "resource", "termios"]
LIGHT_MODULES = [
    "",
    ".audio.reading",
    ".inference.spotter",
    ".commands",
    ".describe",
    ".doctor",
    ".infer",
    ".listen",
    ".demo",
    ".serve",
    ".inference.backends.triton",
    ".inference.backends.triton_async",
]


class Import(NamedTuple):
    """`importer` and `imported` are dotted module names; `at_top` is false inside a function."""

    importer: str
    imported: str
    at_top: bool


def room_of(module: str) -> str:
    """The room of `speech_commands_kws.<first part>...`; commands are one too."""
    part = module.split(".")[1]
    if part in COMMANDS:
        return "commands"
    assert part in ORDER, f"{module} has no place in the order of the rooms"
    return part


def imports_of(tree: ast.Module, importer: str) -> Iterator[Import]:
    for node in ast.walk(tree):
        at_top = node in tree.body
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer} imports relatively"
            # `from package import module` and `from package.module import name` look alike.
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (
                Import(importer, name if node.module == PACKAGE else node.module, at_top)
                for name in full
            )


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    paths = [path for path in sorted((REPOSITORY / PACKAGE).rglob("*.py"))]
    return [
        found
        for path in paths
        if module_name(path) != PACKAGE
        for found in imports_of(ast.parse(path.read_text(encoding="utf-8")), module_name(path))
    ]


def breaks_the_order(found: Import) -> bool:
    if not found.imported.startswith(f"{PACKAGE}."):
        return False
    upper, lower = room_of(found.importer), room_of(found.imported)
    if "commands" in (upper, lower):
        return lower == "commands"
    return ORDER.index(lower) > ORDER.index(upper)


def breaks_the_walls(found: Import) -> bool:
    """An import of a package from outside that does not belong into the room."""
    room, package = room_of(found.importer), found.imported.split(".")[0]
    if package == PACKAGE or package in sys.stdlib_module_names:
        return False
    if package in ENGINES and room in ("audio", "inference"):
        return found.at_top
    if package == "dvc":
        return found.importer != USES_DVC or found.at_top
    if package == "mlflow":
        return room not in USES_MLFLOW
    if package in DRAWING:
        return room not in ("figures", "sweeps", "commands") or room == "commands" and found.at_top
    return found.at_top and room in OUTSIDE and package not in OUTSIDE[room]


def circles(imports: list[Import]) -> list[str]:
    """Modules that reach themselves along the imports at their tops."""
    reached: dict[str, set[str]] = {}
    for found in imports:
        if found.at_top and found.imported.startswith(f"{PACKAGE}."):
            reached.setdefault(found.importer, set()).add(found.imported)
    changed = True
    while changed:
        changed = False
        for targets in reached.values():
            further = set().union(*(reached.get(target, set()) for target in targets)) - targets
            changed = changed or bool(further)
            targets |= further
    return sorted(module for module, targets in reached.items() if module in targets)


@pytest.mark.parametrize("is_broken", [breaks_the_order, breaks_the_walls])
def test_imports_keep_to_the_rooms(
    imports: list[Import], is_broken: Callable[[Import], bool]
) -> None:
    broken = [f"{found.importer} imports {found.imported}" for found in imports if is_broken(found)]
    assert len(imports) > 50
    assert broken == []


def test_modules_import_in_no_circle(imports: list[Import]) -> None:
    assert circles(imports) == []


def test_a_circle_is_seen() -> None:
    steps = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
    imports = [Import(f"{PACKAGE}.{left}", f"{PACKAGE}.{right}", True) for left, right in steps]
    assert circles(imports) == [f"{PACKAGE}.{name}" for name in "abc"]


def test_every_room_of_the_order_is_there() -> None:
    package = REPOSITORY / PACKAGE
    rooms = {path.name for path in package.iterdir() if list(path.glob("*.py"))}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert rooms | modules - set(COMMANDS) == set(ORDER)


def test_the_picture_of_the_rooms_is_the_code(imports: list[Import]) -> None:
    edges = {
        (room_of(found.importer), room_of(found.imported))
        for found in imports
        if found.imported.startswith(f"{PACKAGE}.")
    }
    edges = {(importer, imported) for importer, imported in edges if importer != imported}
    arrows = ARROWS.findall(ARCHITECTURE.read_text(encoding="utf-8"))
    drawn = {(room, target) for room, targets in arrows for target in targets.split(" & ")}
    assert sorted(edges - drawn) == [], "add these arrows to docs/architecture.md"
    assert sorted(drawn - edges) == [], "remove these arrows from docs/architecture.md"


def test_the_architecture_names_every_module() -> None:
    links = set(re.findall(r"\]\(\.\./([^)#]+)\)", ARCHITECTURE.read_text(encoding="utf-8")))
    modules = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / PACKAGE).rglob("*.py")
        if path.stat().st_size and path.parent != REPOSITORY / PACKAGE or path.stem in COMMANDS
    }
    assert sorted(modules - links) == [], "say in docs/architecture.md what these files hold"
    assert sorted(link for link in links if not (REPOSITORY / link).exists()) == []


@pytest.mark.parametrize(
    ("is_broken", "importer", "source"),
    [
        (breaks_the_order, "files.dvc", "from speech_commands_kws.models import frontend"),
        (breaks_the_order, "models.frontend", "from speech_commands_kws.data.task import Task"),
        (breaks_the_order, "evaluate", "from speech_commands_kws.infer import run"),
        (
            breaks_the_order,
            "figures.clips",
            "def draw():\n    from speech_commands_kws import train",
        ),
        (breaks_the_walls, "audio.reading", "import torch"),
        (breaks_the_walls, "inference.backends.onnx", "import onnxruntime"),
        (breaks_the_walls, "inference.spotter", "from omegaconf import DictConfig"),
        (breaks_the_walls, "models.frontend", "import lightning.pytorch"),
        (breaks_the_walls, "infer", "def run():\n    import mlflow"),
        (breaks_the_walls, "evaluation.metrics", "import matplotlib.pyplot"),
        (breaks_the_walls, "files.atomic", "def pull():\n    import dvc.repo"),
        (breaks_the_walls, "files.dvc", "import dvc.repo"),
    ],
)
def test_a_broken_import_is_seen(
    is_broken: Callable[[Import], bool], importer: str, source: str
) -> None:
    assert any(map(is_broken, imports_of(ast.parse(source), f"{PACKAGE}.{importer}")))


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("inference.backends.onnx", "def open():\n    import onnxruntime"),
        (
            "inference.spotter",
            "from speech_commands_kws.inference.backends.onnx import OnnxBackend",
        ),
        ("infer", "import hydra\nfrom speech_commands_kws.cli.launch import CONFIG_DIR"),
        ("figures.style", "import json\nimport matplotlib.pyplot"),
        ("tracking.registry_fetch", "def fetch():\n    import mlflow"),
    ],
)
def test_a_good_import_is_left_alone(importer: str, source: str) -> None:
    for found in imports_of(ast.parse(source), f"{PACKAGE}.{importer}"):
        assert not breaks_the_order(found) and not breaks_the_walls(found)


def loaded_after(program: str, folder: Path, *arguments: str) -> set[str]:
    """The top-level packages in `sys.modules` of a fresh interpreter after a program."""
    report = "\nimport json, sys; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-c", program + report, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_an_import_stays_light(module: str, tmp_path: Path) -> None:
    loaded = loaded_after(f"import {PACKAGE}{module}", tmp_path)
    assert PACKAGE in loaded
    assert loaded & {*HEAVY, "onnxruntime"} == set()


@pytest.mark.parametrize("module", ["", ".infer", ".train", ".export", ".files.lock"])
def test_an_import_needs_nothing_that_windows_lacks(module: str, tmp_path: Path) -> None:
    """Windows names the user in the environment, where `torch` looks for it."""
    barred = (
        f"import os, sys; sys.modules |= dict.fromkeys({POSIX_ONLY}); os.environ['LOGNAME'] = 'me'"
    )
    assert PACKAGE in loaded_after(f"{barred}\nimport {PACKAGE}{module}", tmp_path)


@pytest.mark.parametrize("command", ["infer", "describe"])
def test_an_answer_needs_the_base_dependencies_only(
    command: str, tiny_onnx: Path, burst_wav: Callable, tmp_path: Path
) -> None:
    burst_wav("yes.wav", "yes")
    program = f"from {PACKAGE}.{command} import main; main()"
    arguments = [f"model={tiny_onnx}"] + (["input=yes.wav"] if command == "infer" else [])
    loaded = loaded_after(program, tmp_path, *arguments)
    assert "onnxruntime" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize("command", ["infer", "describe"])
def test_a_file_answers_where_mlflow_cannot_be_imported(
    command: str, tiny_onnx: Path, burst_wav: Callable, tmp_path: Path
) -> None:
    """A registered model does not, and the message says what to install."""
    burst_wav("yes.wav", "yes")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "mlflow.db").touch()
    barred = "import sys; sys.modules |= dict.fromkeys(('mlflow', 'filelock'));"
    barred += f" from {PACKAGE}.{command} import main; main()"
    given = [] if command == "describe" else ["input=yes.wav"]
    for model in (tiny_onnx, "models:/speech-commands-kws@champion"):
        done = subprocess.run(
            [sys.executable, "-c", barred, f"model={model}", *given, "registry.tracking_uri=null"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        if model == tiny_onnx:
            assert done.returncode == 0, done.stderr
        else:
            message = 'error: mlflow is not installed: pip install "speech-commands-kws[train]"\n'
            assert (done.returncode, done.stdout) == (1, "") and done.stderr.endswith(message)


def test_without_the_client_of_triton_one_line_says_what_to_install(tmp_path: Path) -> None:
    barred = (
        f"import sys; sys.modules['tritonclient'] = None; from {PACKAGE}.infer import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", barred, "backend=triton", "input=yes.wav"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    message = 'error: tritonclient is not installed: pip install "speech-commands-kws[serve]"\n'
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.endswith(message)


def test_an_answer_of_a_server_needs_no_engine_here(tmp_path: Path, burst_wav: Callable) -> None:
    pytest.importorskip("tritonclient", reason="needs the extra `serve`")
    burst_wav("yes.wav", "yes")
    program = f"from {PACKAGE}.infer import main; main()"
    with stand_in() as server:
        settings = [f"url={server.url}", "hop_seconds=0.05", "input=yes.wav"]
        loaded = loaded_after(program, tmp_path, "backend=triton", *settings)
    heavy = set(HEAVY) - {"tritonclient", "aiohttp"}
    assert "tritonclient" in loaded and loaded & {*heavy, "onnxruntime"} == set()


def test_the_public_class_needs_the_base_dependencies_only(tiny_onnx: Path, tmp_path: Path) -> None:
    barred = "import sys; sys.modules |= dict.fromkeys(['hydra', 'omegaconf', 'rich'])"
    use = f"print(KeywordSpotter({str(tiny_onnx)!r})([0.0])[0].keywords[0].label)"
    loaded = loaded_after(f"{barred}\nfrom {PACKAGE} import KeywordSpotter; {use}", tmp_path)
    assert "onnxruntime" in loaded and loaded & set(HEAVY) == set()
