"""How similar two words sound: Levenshtein distance over phonemes, weighted by phonetic features.

A phoneme is a symbol of the International Phonetic Alphabet (IPA). Inserting or leaving out one costs
1, replacing one by another the share of three features in which they differ: voice, place and manner
of consonants; height, backness and glide of vowels, as the chart of the IPA has them; a vowel for a
consonant costs 1. A spotter that listens to a second at a time hears words without their beginning or
end: what only one word has at its edges costs half. Source: Nerbonne and Heeringa 1997, "Measuring
dialect distance phonetically"; the choice of features and the half are ours.
"""

import re
from collections.abc import Sequence
from functools import cache

# Stress, length, syllables and ties do not distinguish words.
MARKS = str.maketrans({mark: None for mark in "ˈˌːˑ̩̯͡ʲ-"} | {"ᵻ": "ɪ", "ɫ": "l", "g": "ɡ"})
# What espeak-ng says where the voice of another language goes on, as in "(en)".
OTHER_LANGUAGE = re.compile(r"\(.*?\)")
# Features of symbols of which each stands for itself, by place: voiceless and voiced in turn.
CONSONANTS = {
    "plosive": {
        "labial": "pb",
        "alveolar": "td ɗ",
        "retroflex": "ʈɖ",
        "palatal": "cɟ",
        "velar": "kɡ",
        "uvular": "q",
        "glottal": "ʔ",
    },
    "nasal": {
        "labial": " m ɱ",
        "alveolar": " n",
        "retroflex": " ɳ",
        "palatal": " ɲ",
        "velar": " ŋ",
        "uvular": " ɴ",
    },
    "fricative": {
        "labial": "fvɸβ",
        "dental": "θð",
        "alveolar": "sz",
        "postalveolar": "ʃʒɕʑ",
        "retroflex": "ʂʐ",
        "palatal": "çʝ",
        "velar": "xɣ",
        "uvular": "χʁ",
        "pharyngeal": "ħʕ",
        "glottal": "h",
    },
    "approximant": {"labial": "ʍw ʋ", "postalveolar": " ɹ", "palatal": " j"},
    "lateral": {"alveolar": "ɬl", "retroflex": " ɭ", "palatal": " ʎ"},
    "tap": {"alveolar": " ɾ", "retroflex": " ɽ"},
    "trill": {"alveolar": " r"},
}
AFFRICATES = {
    "tʃ": "ʃ",
    "dʒ": "ʒ",
    "ts": "s",
    "dz": "z",
    "tɕ": "ɕ",
    "dʑ": "ʑ",
    "tʂ": "ʂ",
    "dʐ": "ʐ",
}
VOWELS = {
    "close": {"front": "iɪyʏ", "central": "ɨʉ", "back": "uʊɯ"},
    "mid": {"front": "eɛøœ", "central": "əɜɚɝɘɵ", "back": "oɔʌɤ"},
    "open": {"front": "aæ", "central": "ɐä", "back": "ɑɒ"},
}
# Symbols of one place in the chart are still two phonemes, as in "ship" and "sheep".
LEAST_DIFFERENCE = 1 / 6
# Of a phoneme that only one word has, at its beginning or end.
EDGE_COST = 0.5

Features = tuple[str, ...]


def plain(phonemes: Sequence[str]) -> tuple[str, ...]:
    """Phonemes without stress, length and changes of the voice; words whose phonemes are then equal are homophones."""
    stripped = (OTHER_LANGUAGE.sub("", phoneme).translate(MARKS) for phoneme in phonemes)
    return tuple(phoneme for phoneme in stripped if phoneme)


def features_of(phoneme: str) -> Features:
    """("consonant", voice, place, manner), ("vowel", height, backness, glide), or the symbol alone."""
    if phoneme in AFFRICATES:
        return (*features_of(AFFRICATES[phoneme])[:-1], "affricate")
    for manner, places in CONSONANTS.items():
        for place, symbols in places.items():
            if phoneme[0] in symbols:
                voice = "voiceless" if symbols.index(phoneme[0]) % 2 == 0 else "voiced"
                return ("consonant", voice, place, manner)
    for height, backnesses in VOWELS.items():
        for backness, symbols in backnesses.items():
            if phoneme[0] in symbols:
                return ("vowel", height, backness, phoneme[1:])
    return (phoneme,)


@cache
def replacement_cost(one: str, other: str) -> float:
    """0 for equal phonemes to 1 for those that share nothing."""
    if one == other:
        return 0.0
    (kind, *ours), (other_kind, *theirs) = features_of(one), features_of(other)
    if kind != other_kind or not ours:
        return 1.0
    differing = sum(mine != yours for mine, yours in zip(ours, theirs, strict=True))
    return max(differing / len(ours), LEAST_DIFFERENCE)


def distance(one: Sequence[str], other: Sequence[str]) -> float:
    """Cheapest way from one word to the other, by the number of phonemes of the longer one: 0 to 1.

    Args:
        one, other: phonemes as `plain` returns them; at least one of the words has some.
    """
    costs = [j * EDGE_COST for j in range(len(other) + 1)]
    for i, ours in enumerate(one, start=1):
        above, costs[0] = costs[0], i * EDGE_COST
        for j, theirs in enumerate(other, start=1):
            replaced = above + replacement_cost(ours, theirs)
            above = costs[j]
            left_out = above + (EDGE_COST if j == len(other) else 1)
            inserted = costs[j - 1] + (EDGE_COST if i == len(one) else 1)
            costs[j] = min(replaced, left_out, inserted)
    return costs[-1] / max(len(one), len(other))


def least_distance(one: Sequence[str], other: Sequence[str]) -> float:
    """What `distance` is at least, by the lengths alone: each phoneme that one of the words has more costs that."""
    return EDGE_COST * abs(len(one) - len(other)) / max(len(one), len(other))
