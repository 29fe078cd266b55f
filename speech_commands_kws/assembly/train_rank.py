"""A further process of a training in several processes; the first one starts it, nobody else does."""

import logging
from pathlib import Path
from threading import Thread

from omegaconf import OmegaConf

from speech_commands_kws.tracking import runs
from speech_commands_kws.train import train
from speech_commands_kws.training import further_processes


def main() -> None:
    Thread(target=further_processes.end_with_the_first_process, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format=runs.LOG_FORMAT)
    with further_processes.FailureNoted():
        task = further_processes.task()
        train(OmegaConf.create(task["configuration"]), Path(task["folder"]))


if __name__ == "__main__":
    main()
