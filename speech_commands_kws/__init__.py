"""Turns recordings of words into a keyword spotter that runs everywhere."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech_commands_kws.inference.listener import KeywordListener
    from speech_commands_kws.inference.spotter import KeywordSpotter

__all__ = ["KeywordListener", "KeywordSpotter"]

MODULES = {"KeywordListener": "inference.listener", "KeywordSpotter": "inference.spotter"}


def __getattr__(name: str) -> Any:
    """The classes, imported when they are asked for: commands start where a library of theirs does not load."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
