"""The wheel: what it carries, and that it answers where nothing but it is installed."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.bundle import Bundled, write_bundle

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "speech_commands_kws"
BESIDE = ("configs", "trt", "pyproject.toml", "README.md", "LICENSE")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRAINING_PACKAGES = ["torch", "torchaudio", "lightning", "mlflow", "librosa", "onnx", "dvc"]


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command as typed outside the repository: nothing of this process's Python settings."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    texts = [str(part) for part in command]
    environment = {**inherited, **variables}
    return subprocess.run(texts, cwd=cwd, env=environment, capture_output=True, text=True)


def succeed(*command: str | Path, cwd: Path, **variables: str) -> str:
    done = run(*command, cwd=cwd, **variables)
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    """A copy of what git holds, with a model for the wheel that says that it is not for use."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in succeed("git", "ls-files", "--cached", PACKAGE, *BESIDE, cwd=ROOT).splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    info = OnnxBackend(tiny_onnx).info
    info = replace(info, training={"accuracy": 1.0, "accuracy_clips": 4})
    model = Bundled(tiny_onnx, info, [], {}, None)
    write_bundle(folder / PACKAGE / "weights", [model], "made for a test")
    return folder


def build_wheel(checkout: Path, folder: Path) -> Path:
    succeed(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, checkout, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def wheel_names(wheel: Path) -> list[str]:
    return ZipFile(wheel).namelist()


@pytest.fixture(scope="session")
def metadata(wheel: Path, wheel_names: list[str]) -> Message:
    (name,) = [name for name in wheel_names if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(ZipFile(wheel).read(name))


@pytest.fixture(scope="session")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment in which the wheel was installed, and nothing else by name."""
    folder = tmp_path_factory.mktemp("environment")
    succeed(sys.executable, "-m", "venv", folder, cwd=folder)
    succeed(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="session")
def unpacked_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    ZipFile(wheel).extractall(folder)
    return folder


def test_wheel_carries_every_config_inside_the_package(wheel_names: list[str]) -> None:
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert configs
    carried = {name for name in wheel_names if name.endswith(".yaml")}
    assert carried == {f"{PACKAGE}/{name}" for name in configs}


def test_wheel_carries_the_package_and_nothing_else(wheel_names: list[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")}
    assert modules | {f"{PACKAGE}/py.typed"} <= set(wheel_names)
    rooms = {name.split("/")[0] for name in wheel_names}
    assert rooms == {PACKAGE, f"{PACKAGE}-{PROJECT['version']}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_metadata_asks_for_the_base_dependencies_only(metadata: Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    base = {item.name for item in requirements if item.marker is None}
    assert base == {"hydra-core", "numpy", "onnxruntime", "rich", "soundfile", "soxr"}
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert metadata["License-Expression"] == "Apache-2.0"


def test_kws_answers_where_only_the_wheel_is_installed(
    empty_environment: Path, tiny_onnx: Path, burst_wav: Callable[..., Path], tmp_path: Path
) -> None:
    clip = burst_wav("a clip.flac", "yes", 44_100, channels=2)
    kws = empty_environment / "kws"
    answer = succeed(kws, "infer", clip, f"model={tiny_onnx}", "format=csv", cwd=tmp_path)
    assert "yes" in answer
    assert "_unknown_" in succeed(kws, "describe", tiny_onnx, cwd=tmp_path)
    found = succeed(kws, "doctor", cwd=tmp_path)
    assert "the package's model.onnx" in found and "\n0 broken, " in found
    module = succeed(
        *(empty_environment / "python", "-m", f"{PACKAGE}.infer"),
        *(f'input="{clip}"', f"model={tiny_onnx}", "format=csv"),
        cwd=tmp_path,
    )
    assert module == answer


def test_without_a_model_the_one_of_the_wheel_answers_and_says_so(
    empty_environment: Path, burst_wav: Callable[..., Path], tmp_path: Path
) -> None:
    clip = burst_wav("clip.wav", "yes")
    done = run(empty_environment / "kws", "infer", clip, "format=csv", "top_k=1", cwd=tmp_path)
    assert ",yes," in done.stdout and done.returncode == 0
    said = f"model: model.onnx of speech-commands-kws {PROJECT['version']}, because "
    assert said in done.stderr and "has no export; NOT FOR USE: made for a test\n" in done.stderr
    program = (
        f"from {PACKAGE} import KeywordSpotter; print(KeywordSpotter()({str(clip)!r})[0].label)"
    )
    assert succeed(empty_environment / "python", "-c", program, cwd=tmp_path) == "yes\n"
    missing = run(empty_environment / "kws", "listen", clip, "speed=0", cwd=tmp_path)
    assert missing.returncode == 1 and "no exported model.streaming.onnx" in missing.stderr


def test_a_wheel_built_again_has_the_same_bytes(
    wheel: Path, checkout: Path, tmp_path: Path
) -> None:
    for path in checkout.rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert build_wheel(checkout, tmp_path).read_bytes() == wheel.read_bytes()


def test_no_training_package_comes_with_the_wheel(empty_environment: Path, tmp_path: Path) -> None:
    for package in TRAINING_PACKAGES:
        done = run(empty_environment / "python", "-c", f"import {package}", cwd=tmp_path)
        assert f"No module named '{package}'" in done.stderr


def test_training_from_outside_the_repository_finds_the_configs_of_the_wheel(
    unpacked_wheel: Path, tmp_path: Path
) -> None:
    """The wheel unpacked before the checkout on the path stands for `pip install` with [train]."""
    origin = f"from {PACKAGE}.cli.launch import CONFIG_DIR; print(CONFIG_DIR)"
    path = {"PYTHONPATH": str(unpacked_wheel)}
    found = succeed(sys.executable, "-c", origin, cwd=tmp_path, **path).strip()
    assert Path(found) == unpacked_wheel / PACKAGE / "configs"
    train = [sys.executable, "-m", f"{PACKAGE}.train", "--cfg", "job"]
    composed = succeed(*train, "seed=7", cwd=tmp_path, **path)
    assert "seed: 7" in composed
    assert "backbone:" in composed
    assert list(tmp_path.iterdir()) == []
