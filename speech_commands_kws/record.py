"""Record clips of a word from a microphone: `kws record word=lights speaker=anna count=20`."""

import sys
import time
from collections.abc import Callable
from getpass import getuser
from pathlib import Path

import hydra
import numpy as np
from omegaconf import DictConfig

from speech_commands_kws.audio.microphone import SoundDevice
from speech_commands_kws.audio.reading import resample
from speech_commands_kws.audio.takes import TakeCriteria, check_speaker, fault, keep, recorded, trim
from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, build, run_answering
from speech_commands_kws.data.words import check_words
from speech_commands_kws.errors import KwsError, display_name

REPEAT = "r"
WHOLE_NUMBERS = {"count": 1, "countdown": 0, "attempts": 1, "sample_rate": 1}


class Session:
    """One speaker says one word again and again.

    Args:
        device: what hears and plays.
        folder: of the word.
        speaker: part of the names of the clips.
        demands: what a take must be.
        sample_rate: of the clips (Hz).
        take_seconds: how long the device listens for a word.
        countdown: seconds before it listens.
        playback: whether each take is played, and kept only if it pleases.
        attempts: bad takes in a row after which something is wrong with the microphone.
        say: shows a line.
        ask: shows a question and returns the answer.
        wait: waits so many seconds.
    """

    def __init__(
        self,
        device: SoundDevice,
        folder: Path,
        speaker: str,
        demands: TakeCriteria,
        sample_rate: int,
        take_seconds: float,
        countdown: int,
        playback: bool,
        attempts: int,
        say: Callable[[str], None],
        ask: Callable[[str], str],
        wait: Callable[[float], None],
    ) -> None:
        self.device = device
        self.folder = folder
        self.speaker = speaker
        self.demands = demands
        self.sample_rate = sample_rate
        self.take_seconds = take_seconds
        self.countdown = countdown
        self.playback = playback
        self.attempts = attempts
        self.say = say
        self.ask = ask
        self.wait = wait

    def record(self, prompt: str) -> Path:
        """Record one clip, as often as it takes to be good.

        Raises KwsError after too many bad takes in a row.
        """
        bad = 0
        while bad < self.attempts:
            waveform = self._take(prompt)
            reason = fault(waveform, self.device.sample_rate, self.demands)
            if reason is not None:
                self.say(f"{reason}; once more")
                bad += 1
                continue
            word = trim(waveform, self.device.sample_rate, self.demands)
            if not self.playback or self._pleases(word):
                clip = resample(word, self.device.sample_rate, self.sample_rate)
                return keep(clip, self.sample_rate, self.folder, self.speaker)
        raise KwsError(
            f"{self.attempts} takes in a row were no good, the last one: {reason}; "
            "look at the microphone and its level"
        )

    def _take(self, prompt: str) -> np.ndarray:
        for seconds in range(self.countdown, 0, -1):
            self.say(f"{prompt} in {seconds} …")
            self.wait(1)
        self.say(f"{prompt}: now")
        return self.device.record(self.take_seconds)

    def _pleases(self, word: np.ndarray) -> bool:
        self.device.play(word)
        return self.ask("Enter keeps it, r repeats it: ").strip().lower() != REPEAT


def run(cfg: DictConfig) -> float:
    """Record until there are `count` clips of the word by the speaker; return how many are new."""
    check_words([cfg.word], "word")
    speaker = str(cfg.speaker) if cfg.speaker is not None else getuser()
    check_speaker(speaker)
    check_numbers(cfg)
    folder = Path(str(cfg.root)).expanduser() / cfg.word
    there = recorded(folder, speaker)
    if there >= cfg.count:
        raise KwsError(
            f"{there} clips by {speaker} lie in {display_name(folder)} already: "
            f"ask for more, such as count={there + cfg.count}"
        )
    session = Session(
        device=build(cfg.microphone),
        folder=folder,
        speaker=speaker,
        demands=build(cfg.demands),
        sample_rate=cfg.sample_rate,
        take_seconds=cfg.take_seconds,
        countdown=cfg.countdown,
        playback=cfg.playback,
        attempts=cfg.attempts,
        say=say,
        ask=ask,
        wait=time.sleep,
    )
    say(f"{cfg.count - there} clips by {speaker} into {display_name(folder)}; Ctrl-C ends")
    return float(record_all(session, cfg.word, there, cfg.count))


def record_all(session: Session, word: str, there: int, count: int) -> int:
    """Record the clips that are missing; what is recorded stays when it is interrupted."""
    try:
        for number in range(there, count):
            path = session.record(f"{word} ({number + 1} of {count})")
            print(display_name(path))
    except (KeyboardInterrupt, KwsError):
        kept = recorded(session.folder, session.speaker)
        session.say(f"{kept} of {count} are there; the same command goes on")
        raise
    return count - there


def check_numbers(cfg: DictConfig) -> None:
    for name, least in WHOLE_NUMBERS.items():
        value = cfg[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise KwsError(f"{name} must be a whole number of {least} or more, got {value!r}")
    if not cfg.take_seconds > cfg.demands.longest_seconds:
        raise KwsError(
            f"take_seconds must be more than demands.longest_seconds={cfg.demands.longest_seconds}, "
            f"got {cfg.take_seconds}"
        )


def say(line: str) -> None:
    # Standard output is for the names of the clips.
    print(line, file=sys.stderr, flush=True)


def ask(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


@hydra.main(config_path=CONFIG_DIR, config_name="record", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
