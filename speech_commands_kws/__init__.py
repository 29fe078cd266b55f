"""Turns recordings of words into a keyword spotter that runs everywhere."""

from speech_commands_kws.inference.listener import KeywordListener
from speech_commands_kws.inference.spotter import KeywordSpotter

__all__ = ["KeywordListener", "KeywordSpotter"]
