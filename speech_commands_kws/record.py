"""Record clips of a word from a microphone: `kws record word=lights speaker=anna count=20`."""

from getpass import getuser
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.audio.takes import Session
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.data.words import check_words
from speech_commands_kws.errors import display_name


def run(cfg: DictConfig) -> float:
    """Record until there are `count` clips of the word by the speaker; return how many are new."""
    check_words(word=[cfg.word])
    session = Session(
        device=build(cfg.microphone),
        folder=Path(str(cfg.root)).expanduser() / cfg.word,
        speaker=str(cfg.speaker) if cfg.speaker is not None else getuser(),
        criteria=build(cfg.demands),
        sample_rate=cfg.sample_rate,
        take_seconds=cfg.take_seconds,
        countdown=cfg.countdown,
        playback=cfg.playback,
        attempts=cfg.attempts,
    )
    recorded = 0.0
    for path in session.record(cfg.count):
        print(display_name(path))
        recorded += 1
    return recorded


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="record", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
