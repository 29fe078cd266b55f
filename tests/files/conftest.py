"""A signal for a process that another one waits for."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Path]:
    """A file that is made as soon as the package warns, here that it waits."""
    path = tmp_path / "told"
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: path.touch()
    logger = logging.getLogger("speech_commands_kws")
    logger.addHandler(handler)
    yield path
    logger.removeHandler(handler)
