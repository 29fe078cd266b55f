"""DVC's stages and remotes with our real commands: as in docs/data.md, with the smallest settings."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import NO_SERVER
from dvc_repositories import dvc, git, make_repository

from speech_commands_kws.cli.launch import CONFIG_DIR

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = Path(CONFIG_DIR)
SMOKE = {"experiment: gsc12": "experiment: smoke", "data: speech_commands": "data: synthetic"}
CARRIED = (
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "dvc.yaml",
)
SPEAKERS = [f"speaker{i}" for i in range(30)]
VARIABLE = re.compile(r"\$\{(\w+)\}")


def run(folder: Path, *command: str, check: bool = True) -> str:
    """What a command writes, with this code and the `kws` of this environment."""
    code = folder if (folder / "speech_commands_kws").is_dir() else ROOT
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **NO_SERVER, "PATH": path, "PYTHONPATH": str(code)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for before, after in changes:
        assert before in text, f"{before} is not in {path}"
        text = text.replace(before, after)
    path.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own with our code and configs, whose pipeline is set to the smoke experiment."""
    folder = tmp_path / "checkout"
    for name in ("speech_commands_kws", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in CARRIED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    change(folder / "configs/pipeline.yaml", *SMOKE.items(), ("task: gsc12", "task: keywords"))
    change(folder / "dvc.yaml", ("kws evaluate ", "kws evaluate robustness=none "))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


@pytest.mark.integration
def test_the_pipeline_runs_and_knows_what_has_changed(checkout: Path) -> None:
    run(checkout, "dvc", "repro")
    results = checkout / "plots/runs/pipeline"
    assert json.loads((results / "scores.json").read_text())["clips"] == 24
    assert (results / "model.onnx").is_file()
    # Git keeps the lock file and none of the results; nothing has to run again.
    assert git(checkout, "status", "--short") == "?? dvc.lock\n"
    assert "up to date" in run(checkout, "dvc", "status")
    git(checkout, "add", "dvc.lock")
    git(checkout, "commit", "--quiet", "--message", "first")
    change(checkout / "configs/optimizer/sgd.yaml", ("lr: 0.1", "lr: 0.01"))
    told = run(checkout, "dvc", "repro", "evaluate")
    assert re.findall(r"Running stage '(\w+)'", told) == ["train", "evaluate"]
    metrics = json.loads(run(checkout, "dvc", "metrics", "diff", "--json"))
    assert metrics["plots/runs/pipeline/scores.json"]["log_loss"]["diff"] != 0
    run(checkout, "dvc", "plots", "diff")
    page = (checkout / "dvc_plots/index.html").read_text()
    assert "validation_accuracy" in page and '"rev": "HEAD"' in page
    assert len(list((checkout / "dvc_plots/static").glob("*_confusion.png"))) == 2
    assert "dvc_plots" not in git(checkout, "status", "--short")


@pytest.mark.integration
def test_what_is_pushed_is_pulled_by_train_and_infer_elsewhere(
    tmp_path: Path, burst_wav: Callable[..., Path], tiny_onnx: Path
) -> None:
    """Recordings and a released model, through a remote in a folder."""
    here = make_repository(tmp_path / "here")
    for speaker in SPEAKERS:
        for word, keyword in (("lights", "yes"), ("music", "no"), ("door", "_unknown_")):
            burst_wav(f"here/data/recordings/{word}/{speaker}.wav", keyword)
    shutil.copy(tiny_onnx, here / "data/spotter.onnx")
    dvc(here, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    dvc(here, "add", "data/recordings", "data/spotter.onnx")
    dvc(here, "push")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message", "recordings and a model")
    git(tmp_path, "clone", "--quiet", str(here), "elsewhere")
    elsewhere = tmp_path / "elsewhere"
    clip = burst_wav("clip.wav", "yes")

    heard = run(elsewhere, "kws", "infer", str(clip), "model=data/spotter.onnx", "format=csv")
    assert "yes" in heard
    assert not (elsewhere / "data/recordings").exists()
    settings = "data=folder data.root=data/recordings data.words=[lights,music] logger=none"
    mine = [*settings.split(), "trainer.max_epochs=1", "folder=plots/runs/mine"]
    run(elsewhere, "kws", "train", *mine)
    assert (elsewhere / "data/recordings/lights/speaker0.wav").is_file()
    assert len(json.loads((elsewhere / "plots/runs/mine/history.json").read_text())) == 1
    again = run(elsewhere, "kws", "train", *mine, check=False)
    assert "error: folder=" in again and "is there already" in again


def test_every_file_of_parameters_is_there() -> None:
    choices = yaml.safe_load((CONFIGS / "pipeline.yaml").read_text())
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    files = {name for stage in stages.values() for node in stage["params"] for name in node}
    assert len(files) > 10
    for name in files:
        path = ROOT / VARIABLE.sub(lambda found: choices[found[1]], name)
        assert path.is_file(), name


def test_the_pointer_and_the_settings_speak_of_one_file() -> None:
    pointer = yaml.safe_load((ROOT / "data/speech_commands_v0.02.tar.gz.dvc").read_text())
    download = yaml.safe_load((CONFIGS / "archives/speech_commands.yaml").read_text())
    (facts,) = [each for each in download["archives"] if each["name"] == "speech_commands_v0.02"]
    (source,), (out,) = pointer["deps"], pointer["outs"]
    assert source["path"] == f"{download['address']}/{out['path']}"
    assert source["size"] == facts["size"]
    assert re.fullmatch('"[0-9a-f]{32}"', source["checksum"])  # an ETag has its quotes
    assert out["path"] == f"{facts['name']}.tar.gz"
    for each in download["archives"]:
        assert each["sha256"] is None or re.fullmatch("[0-9a-f]{64}", each["sha256"])


def test_dvc_reports_to_nobody() -> None:
    assert "analytics = false" in (ROOT / ".dvc/config").read_text()
