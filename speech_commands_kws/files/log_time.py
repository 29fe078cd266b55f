"""When something was last done, by its log: a copied folder keeps that, but not the times of its files."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path


def last_time(log: Path) -> float | None:
    """The time of the last line that has one, in seconds since 1970; None where there is no such log."""
    for line in reversed(log.read_text("utf-8", "replace").splitlines() if log.is_file() else []):
        with suppress(ValueError):  # a line of a longer message
            return datetime.fromisoformat(line.partition(",")[0]).timestamp()
    return None
