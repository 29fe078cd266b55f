"""A tree of "words" for tests: each word is a tone, each speaker has a level and noise of their own."""

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000
WORD_HERTZ = {"yes": 400, "no": 900, "bird": 1700, "tree": 2600}
SPEAKERS = ("anna", "bert", "carl", "dora")


def tone(word: str, seed: int, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    envelope = np.exp(-(((time - 0.5 * seconds) / (0.15 * seconds)) ** 2))
    buzz = np.sin(2 * np.pi * WORD_HERTZ[word] * time) * envelope * generator.uniform(0.2, 0.8)
    return (buzz + generator.normal(0, 0.003, len(time))).astype(np.float32)


def make_tree(root: Path, takes: int = 4) -> Path:
    """`<word>/<speaker>_nohash_<k>.wav` for each word and speaker, and five seconds of background noise."""
    for i, word in enumerate(WORD_HERTZ):
        for j, speaker in enumerate(SPEAKERS):
            for k in range(takes):
                path = root / word / f"{speaker}_nohash_{k}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone(word, i * 1000 + j * 100 + k), SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * SAMPLE_RATE)
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_" / "hiss.wav", noise, SAMPLE_RATE)
    return root
