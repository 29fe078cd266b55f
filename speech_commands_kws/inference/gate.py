"""What a stream is listened to for: a gate that is closed while it is quiet, so that the model need not be run."""

from typing import Protocol

import numpy as np

from speech_commands_kws.audio.levels import level_db
from speech_commands_kws.errors import check_number, check_positive

__all__ = ["EnergyGate", "Gate"]

LOUD_DB = 100.0  # of a sound whose samples are no numbers


class Gate(Protocol):
    """Decides of each piece of one stream whether the model hears it."""

    def reset(self) -> None:
        """A new stream begins."""

    def __call__(self, sound: np.ndarray, seconds: float) -> bool:
        """Whether the gate is open for this piece (T,), which lasts so long."""


class EnergyGate:
    """Open while sound is louder than its background.

    The background is the lowest level of late: it follows quieter sound at once, and louder sound slowly. It is open at
    the beginning of a stream.

    Args:
        above_db: how much louder a piece must be (dB of its mean square).
        rise_db_per_second: how fast the background becomes as loud as what is heard.
        quietest_db: the background is at least this loud (dBFS), so that nothing quieter opens the gate.
        hold_seconds: how long it stays open then. A keyword is decided a while after its end.
    """

    def __init__(
        self, above_db: float, rise_db_per_second: float, quietest_db: float, hold_seconds: float
    ) -> None:
        check_positive(above_db=above_db, rise_db_per_second=rise_db_per_second)
        check_number(0, hold_seconds=hold_seconds)
        check_number(quietest_db=quietest_db)
        self.above_db, self.rise_db_per_second = above_db, rise_db_per_second
        self.quietest_db, self.hold_seconds = quietest_db, hold_seconds
        self.reset()

    def reset(self) -> None:
        self.background_db = np.inf
        self.quiet_seconds = 0.0

    def __call__(self, sound: np.ndarray, seconds: float) -> bool:
        power = np.nan_to_num(np.dot(sound, sound) / len(sound), nan=np.inf)
        level = min(float(level_db(power)), LOUD_DB)
        risen = self.background_db + self.rise_db_per_second * seconds
        self.background_db = max(min(level, risen), self.quietest_db)
        is_loud = level >= self.background_db + self.above_db
        self.quiet_seconds = 0.0 if is_loud else self.quiet_seconds + seconds
        return self.quiet_seconds <= self.hold_seconds
