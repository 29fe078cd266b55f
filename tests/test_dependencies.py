"""The packages that the project was asked to use: each is declared, and something uses it."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The package, and the module by which Python code imports it.
MODULES = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "lightning": "lightning",
    "hydra-core": "hydra",
    "hydra-optuna-sweeper": "hydra_plugins.hydra_optuna_sweeper",
    "dvc": "dvc",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tritonclient": "tritonclient",
    "librosa": "librosa",
}
# No module imports it: DVC does, for a remote that this target of make sets up.
GOOGLE_DRIVE = "dvc-gdrive"
GOOGLE_DRIVE_COMMAND = re.compile(r"dvc remote modify --local storage gdrive_use_service_account")


def declared() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    return {Requirement(text).name for text in texts}


def imported_modules() -> set[str]:
    """Every dotted name that a module of the package imports, at its top or inside a function."""
    found = set()
    for path in (ROOT / "speech_commands_kws").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", [*MODULES, GOOGLE_DRIVE])
def test_the_package_is_declared(package: str) -> None:
    assert package in declared()


@pytest.mark.parametrize("package", MODULES)
def test_a_module_uses_the_package(package: str) -> None:
    module = MODULES[package]
    users = [name for name in imported_modules() if f"{name}.".startswith(f"{module}.")]
    assert users, f"nothing imports {module}"


def test_a_command_sets_up_the_google_drive_of_dvc() -> None:
    assert GOOGLE_DRIVE_COMMAND.search((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert "make data-remote" in (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
