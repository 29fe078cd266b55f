"""Fetch the recordings for a training: `kws download data=speech_commands`."""

import logging
from typing import Any

from omegaconf import DictConfig

from speech_commands_kws.cli.launch import build, command, run_command
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN, SpeechTree, audio_paths
from speech_commands_kws.files.atomic import write_json_file

LOG = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Fetch what is missing, or make it where it is synthetic; returns the number of clips."""
    tree = build(cfg.data.source).prepare()
    found = {"data": cfg.data.name} | contents(tree)
    LOG.info("%s: %d clips, %d noises", tree.root, found["clips"], found["noises"])
    write_json_file(cfg.json_file, found)
    return float(found["clips"])


def contents(tree: SpeechTree) -> dict[str, Any]:
    """What lies in a tree: the same on every machine that has the same recordings."""
    clips, noises = audio_paths(tree.root, tree.pattern)
    found = {"root": tree.root.name, "clips": len(clips), "noises": len(noises)}
    found["bytes"] = sum((tree.root / path).stat().st_size for path in clips + noises)
    if tree.test_root is not None:
        found["test_clips"] = len(audio_paths(tree.test_root, SPEECH_COMMANDS_PATTERN)[0])
    return found


@command("download")
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
