"""The commands that bring and pack recordings, without a training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws import download, pack
from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.tracking import runs

SPEAKERS = [f"speaker{i}" for i in range(30)]


@pytest.fixture
def recordings(burst_wav: Callable[..., Path], tmp_path: Path) -> Path:
    for speaker in SPEAKERS:
        for word in ("yes", "no"):
            burst_wav(f"recordings/{word}/{speaker}_nohash_0.wav", word)
    burst_wav("recordings/_background_noise_/hum.wav", "yes")
    return tmp_path / "recordings"


def composed(command: str, recordings: Path, *overrides: str) -> DictConfig:
    folder = recordings.parent
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose(
            command,
            [
                "data=folder",
                f"data.root={recordings}",
                f"loader.cache={folder / 'packed'}",
                f"json_file={folder / 'answers' / 'facts.json'}",
                *overrides,
            ],
        )
    # Without Hydra's main there is no folder in which the command was typed.
    return OmegaConf.merge(cfg, {"paths": {"root": str(folder)}, "name": "test"})


def facts(recordings: Path) -> dict:
    return json.loads((recordings.parent / "answers" / "facts.json").read_text())


def test_download_counts_what_is_there(recordings: Path) -> None:
    assert download.run(composed("download", recordings)) == 60.0
    sizes = sum(path.stat().st_size for path in recordings.rglob("*.wav"))
    assert facts(recordings) == {
        "data": "folder",
        "root": "recordings",
        "clips": 60,
        "noises": 1,
        "bytes": sizes,
    }


def test_corpora_are_counted_by_folder(recordings: Path) -> None:
    """Those of the talk are there already, so that nothing is spoken."""
    cfg = composed("download", recordings, "corpora=talk", f"corpora.parent={recordings.parent}")
    talk = recordings.parent / f"talk-{build(cfg.corpora).settings_hash}"
    for name in ("train/0000.wav", "train/0001.wav", "validation/0000.wav"):
        write_wav(talk / name, np.zeros(16), 16_000)
    assert download.run(cfg) == 3.0
    assert facts(recordings) == {"root": talk.name, "recordings": {"train": 2, "validation": 1}}


def test_pack_makes_what_train_opens(recordings: Path) -> None:
    assert pack.run(composed("pack", recordings)) == 60.0
    found = facts(recordings)
    assert found["clips"] == 60 and found["classes"] == 3 and found["left_out"] == 0
    assert found["train"] + found["validation"] + found["test"] == 60
    assert len(list((recordings.parent / "packed").glob("*/clips.int16"))) == 1
    pack.run(composed("pack", recordings))
    assert facts(recordings) == found


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write folder=.*file/mine .Not a directory"):
        runs.claim_folder(tmp_path / "file" / "mine")


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    assert runs.claim_folder(tmp_path / "runs" / "mine").is_dir()
    with pytest.raises(KwsError, match="folder=.*mine is there already: .*resume=true run=.*mine"):
        runs.claim_folder(tmp_path / "runs" / "mine")
