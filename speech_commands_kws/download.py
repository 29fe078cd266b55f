"""Fetch the recordings for a training, or sound without keywords: `kws download data=speech_commands`."""

import logging
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from speech_commands_kws.audio.locate import sounds_below
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_command,
)
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN, SpeechTree, audio_paths
from speech_commands_kws.files.atomic import write_json_file

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Fetch what is missing, or make it where it is synthetic; returns the number of clips."""
    if cfg.get("corpora"):
        return fetch_corpora(build(cfg.corpora).prepare(), cfg.json_file)
    tree = build(cfg.data.source).prepare()
    found = {"data": cfg.data.name} | contents(tree)
    LOG.info("%s: %d clips, %d noises", tree.root, found["clips"], found["noises"])
    write_json_file(cfg.json_file, found)
    return float(found["clips"])


def fetch_corpora(root: Path, json_file: str | None) -> float:
    """Count what lies in a folder of corpora."""
    found = {
        folder.name: len(sounds_below(folder))
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }
    LOG.info("%s: %s", root, ", ".join(f"{count} in {name}" for name, count in found.items()))
    write_json_file(json_file, {"root": root.name, "recordings": found})
    return float(sum(found.values()))


def contents(tree: SpeechTree) -> dict[str, Any]:
    """What lies in a tree: the same on every machine that has the same recordings."""
    clips, noises = audio_paths(tree.root, tree.pattern)
    found = {"root": tree.root.name, "clips": len(clips), "noises": len(noises)}
    found["bytes"] = sum((tree.root / path).stat().st_size for path in clips + noises)
    if tree.test_root is not None:
        found["test_clips"] = len(audio_paths(tree.test_root, SPEECH_COMMANDS_PATTERN)[0])
    return found


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="download", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
