"""The layers of the package, and what a fresh interpreter holds after an import."""

import ast
import json
import os
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

# Room: its layer, its modules, and the packages from outside that stand at the top of them. Imports
# go down, or stay within a room.
ROOMS = {
    "ground": (
        0,
        "audio artefact dvc_storage errors extras file_lock inputs labels metrics onnx_operators "
        "output overrides tracked",
    ),
    "torch parts": (1, "augment frontend models rooms thread_team"),
    "run-time": (1, "answers backends detector microphone recording spotter"),
    "trained": (2, "checkpoint complexity spotter_module"),
    "records": (2, "mlflow_store"),
    "training": (
        3,
        "augmentation_picture data data_parallel data_picture evaluation further_processes history "
        "lit_module mel_pictures mlflow_run objectives outbox plots pruning robustness robustness_picture "
        "runs schedule search_space standings standings_picture steady_logger step_checkpoint studies "
        "study_plots sweep system_metrics tracking",
    ),
    "packaging": (3, "packaging"),
    "serving": (4, "serving"),
    "door": (5, "composition delivery plan_export registration settings"),
    "commands": (
        6,
        "benchmark check_data commands describe download evaluate export infer leaderboard listen pack "
        "record serve "
        "study_sweeper train",
    ),
    "processes of train": (7, "one_process recordings_first sweep_check sweep_record train_rank"),
}
OUTSIDE = {
    "ground": {"numpy", "soundfile", "soxr"},
    "torch parts": {"numba", "numpy", "pyroomacoustics", "torch", "torchaudio"},
    "run-time": {"numpy", "rich"},
    "trained": {"numpy", "torch"},
    "records": {"mlflow"},
    "packaging": {"mlflow", "numpy", "onnx", "onnxruntime", "onnxscript", "torch"},
    # What Triton's process has around the backend that it runs.
    "serving": {"numpy", "onnxruntime", "triton_python_backend_utils"},
    "door": {"hydra", "numpy", "omegaconf"},
}
ENGINES = {"aiohttp", "cuda", "gevent", "onnxruntime", "sounddevice", "tensorrt", "tritonclient"}
ONLY_IN_TRAINING = {"librosa", "matplotlib"}
# Where MLflow may be used; by the last two inside functions only, since the answers of `infer` need none.
USES_MLFLOW = {"training", "records", "packaging"}
# The one module that uses DVC, inside functions, since what is there already needs none.
USES_DVC = f"{PACKAGE}.dvc_storage"
# What the base dependencies do not bring, or what is too slow to load for an answer.
HEAVY = (
    "torch torchaudio lightning mlflow dvc librosa matplotlib onnx optuna sqlalchemy tritonclient aiohttp"
).split()
LIGHT_MODULES = ["", ".audio", ".spotter", ".commands", ".describe", ".infer", ".serve"] + [
    ".backends.triton",
    ".backends.triton_async",
]


class Import(NamedTuple):
    """`importer` and `imported` are dotted module names; `at_top` is false inside a function."""

    importer: str
    imported: str
    at_top: bool


def room_of(module: str) -> str:
    """The room of `speech_commands_kws.<first part>...`."""
    part = module.split(".")[1]
    rooms = [room for room, (_, modules) in ROOMS.items() if part in modules.split()]
    assert rooms, f"{module} has no place in the layers yet: add it to ROOMS"
    return rooms[0]


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


def breaks_the_layers(found: Import) -> bool:
    """Commands are the exception within their layer: nobody imports them, not even each other."""
    if not found.imported.startswith(f"{PACKAGE}."):
        return False
    upper, lower = room_of(found.importer), room_of(found.imported)
    if upper == lower:
        return upper == "commands"
    return ROOMS[lower][0] >= ROOMS[upper][0]


def breaks_the_walls(found: Import) -> bool:
    """An import of a package from outside that does not belong into the room."""
    room, package = room_of(found.importer), found.imported.split(".")[0]
    if package == PACKAGE or package in sys.stdlib_module_names:
        return False
    if package in ENGINES and room == "run-time":
        return found.at_top
    if package == "dvc":
        return found.importer != USES_DVC or found.at_top
    if package == "mlflow":
        return room not in USES_MLFLOW or room != "training" and found.at_top
    if package in ONLY_IN_TRAINING:
        return room != "training"
    return room in OUTSIDE and package not in OUTSIDE[room]


@pytest.mark.parametrize("is_broken", [breaks_the_layers, breaks_the_walls])
def test_imports_keep_to_the_rooms(
    imports: list[Import], is_broken: Callable[[Import], bool]
) -> None:
    broken = [f"{found.importer} imports {found.imported}" for found in imports if is_broken(found)]
    assert len(imports) > 50
    assert broken == []


@pytest.mark.parametrize(
    ("is_broken", "importer", "source"),
    [
        (breaks_the_layers, "audio", "from speech_commands_kws.spotter import KeywordSpotter"),
        (breaks_the_layers, "spotter", "from speech_commands_kws import frontend"),
        (breaks_the_layers, "spotter_module", "from speech_commands_kws.data.tree import scan"),
        (breaks_the_layers, "data.tree", "from speech_commands_kws.packaging.onnx import export"),
        (breaks_the_layers, "evaluate", "from speech_commands_kws.infer import run"),
        (breaks_the_layers, "plots", "def draw():\n    from speech_commands_kws import train"),
        (breaks_the_walls, "audio", "import torch"),
        (breaks_the_walls, "backends.onnx", "import onnxruntime"),
        (breaks_the_walls, "spotter", "from omegaconf import DictConfig"),
        (breaks_the_walls, "frontend", "import lightning.pytorch"),
        (breaks_the_walls, "spotter_module", "import lightning.pytorch"),
        (breaks_the_walls, "infer", "def run():\n    import mlflow"),
        (breaks_the_walls, "packaging.registered", "import mlflow"),
        (breaks_the_walls, "tracked", "def pull():\n    import dvc.repo"),
        (breaks_the_walls, "dvc_storage", "import dvc.repo"),
    ],
)
def test_a_broken_import_is_seen(
    is_broken: Callable[[Import], bool], importer: str, source: str
) -> None:
    assert any(map(is_broken, imports_of(ast.parse(source), f"{PACKAGE}.{importer}")))


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("backends.onnx", "def open():\n    import onnxruntime"),
        ("spotter", "from speech_commands_kws.backends.onnx import OnnxBackend"),
        ("infer", "import hydra\nfrom speech_commands_kws.composition import CONFIG_DIR"),
        ("plots", "import json\nimport matplotlib.pyplot"),
        ("packaging.registered", "def fetch():\n    import mlflow"),
    ],
)
def test_a_good_import_is_left_alone(importer: str, source: str) -> None:
    for found in imports_of(ast.parse(source), f"{PACKAGE}.{importer}"):
        assert not breaks_the_layers(found) and not breaks_the_walls(found)


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
    barred = (
        f"import sys; sys.modules['mlflow'] = None; from {PACKAGE}.{command} import main; main()"
    )
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
    program = f"from {PACKAGE} import KeywordSpotter; KeywordSpotter({str(tiny_onnx)!r})([0.0])"
    assert loaded_after(program, tmp_path) & {*HEAVY, "hydra", "omegaconf"} == set()
