"""`kws pack`: the packed files of a data set, and their count."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.pack import run

SPEAKERS = 60


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for word in ("yes", "no"):
        (tmp_path / "tree" / word).mkdir(parents=True)
        for i in range(SPEAKERS):
            sound = np.random.default_rng(i).normal(0, 0.1, 16_000)
            soundfile.write(tmp_path / "tree" / word / f"speaker{i}_nohash_0.wav", sound, 16_000)
    return tmp_path / "tree"


def test_every_clip_is_packed_and_counted(tree: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    overrides = ["data=folder", f"data.root={tree}", f"paths.root={tmp_path}", f"json_file={facts}"]
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("pack", overrides)
    assert run(cfg) == 2 * SPEAKERS
    counted = json.loads(facts.read_text())
    assert counted["clips"] == 2 * SPEAKERS and counted["left_out"] == 0
    assert counted["train"] + counted["validation"] + counted["test"] == 2 * SPEAKERS
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert run(cfg) == 2 * SPEAKERS
    assert json.loads(facts.read_text()) == counted
    changed = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and before.get(path) != path.stat().st_mtime_ns and path != facts
    ]
    assert changed == []
