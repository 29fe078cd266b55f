"""Pack the recordings for a training, and count them: `kws pack data=folder data.root=recordings`."""

from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_command,
)
from speech_commands_kws.data.datamodule import KeywordDataModule
from speech_commands_kws.data.speech_tree import SPLITS
from speech_commands_kws.files.atomic import write_json_file


def run(cfg: DictConfig) -> float:
    """Make the packed files, which `train` would make otherwise; returns the number of clips."""
    datamodule = KeywordDataModule(
        source=build(cfg.data.source), task=build(cfg.task), **OmegaConf.to_object(cfg.loader)
    )
    datamodule.setup()
    write_json_file(cfg.json_file, summary(datamodule))
    return float(len(datamodule.packed.paths))


def summary(datamodule: KeywordDataModule) -> dict[str, Any]:
    """The same on every machine that has the same recordings."""
    splits = {split: int(np.sum(datamodule.splits == split)) for split in SPLITS}
    return {
        "clips": len(datamodule.packed.paths),
        **splits,
        "left_out": len(datamodule.packed.left_out),
        "classes": len(datamodule.labels),
        "fingerprint": datamodule.fingerprint,
    }


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="pack", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
