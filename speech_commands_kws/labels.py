from collections.abc import Iterable

SILENCE = "_silence_"
UNKNOWN = "_unknown_"
BACKGROUND_NOISE = "_background_noise_"


def is_keyword(label: str) -> bool:
    """Whether a label is a word to report."""
    return label not in (SILENCE, UNKNOWN)


def keywords_of(labels: Iterable[str]) -> list[str]:
    return list(filter(is_keyword, labels))
