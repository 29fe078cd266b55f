"""Near misses: how often a spotter fires on words that sound like its keywords, trained with such words and without.

Protocol
    The same network is trained on synthetic speech for the keywords "seven" and "lights", once with the near misses
    that configs/data/synthetic.yaml asks for and once without (`near_misses=0`), with equally many clips that are no
    keyword, for several seeds. Then voices that were in neither training say: the keywords; the near misses of the
    first training; the ten next nearest words of each keyword, which neither training had; and the unknown words of
    both. A clip fires if a keyword is the most probable class, and its probability reaches a threshold: none, or the
    highest at which 95 % of the keywords fire. Given are the shares of clips that fire, the mean over the seeds; only
    for the keywords more is better.

    python benchmarks/near_misses.py [ARM...] [Hydra overrides]      prints a table, and JSON on the last line

An ARM is `with` or `without`; both, unless one is named.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from speech_commands_kws.audio.reading import read_audio
from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.data.sources.synthetic import SyntheticSource
from speech_commands_kws.data.speech_tree import TESTING_LIST
from speech_commands_kws.data.synthesis.near_misses import choose_others
from speech_commands_kws.inference.locate import newest_export
from speech_commands_kws.inference.spotter import KeywordSpotter, batched

SEEDS = range(2)
KEYWORDS = ["seven", "lights"]
NEXT_NEAREST = 10
# As many clips of other words in both.
ARMS = {
    "with": [],
    "without": ["data.source.near_misses=0", "data.source.unknown_per_speaker=12"],
}
SETTINGS = [
    f"data.words=[{','.join(KEYWORDS)}]",
    "data.source.speakers=100",
    "data.source.noise_seconds=10",
    "trainer.max_epochs=20",
    "logger=none",
]
# Of every ten voices one is for testing.
LISTENING_SPEAKERS, KEYWORD_SPEAKERS = 100, 400
KEYWORD_TAKES = 3
RECALL = 0.95
BATCH_SIZE = 64


def configured_source(folder: Path) -> SyntheticSource:
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["data=synthetic", f"paths.data={folder}", *SETTINGS[:1]])
        return build(cfg.data.source)


def groups_of_words(source: SyntheticSource) -> dict[str, list[str]]:
    """What is said to the trained spotters."""
    near = choose_others(
        source.words,
        source.unknown_words,
        source.near_miss_candidates,
        source.accents,
        source.near_misses + NEXT_NEAREST,
        source.near_miss_distance,
    ).near.values()
    return {
        "keywords": list(source.words),
        "near misses of the training": [
            word for words in near for word in words[: source.near_misses]
        ],
        "next nearest words": [word for words in near for word in words[source.near_misses :]],
        "unknown words": [word for word in source.unknown_words if word not in source.words],
    }


def spoken(source: SyntheticSource, groups: dict[str, list[str]]) -> dict[str, list[Path]]:
    """Clips of every group by the voices for testing; of the keywords there are more, for they set the threshold."""
    others = [word for words in groups.values() for word in words if word not in source.words]
    speaking = replace(source, near_misses=0, noise_seconds=1.0)
    heard = replace(
        speaking,
        unknown_words=others,
        takes_per_word=1,
        unknown_per_speaker=len(others),
        speakers=LISTENING_SPEAKERS,
    )
    keywords = replace(
        speaking,
        takes_per_word=KEYWORD_TAKES,
        unknown_per_speaker=0,
        speakers=KEYWORD_SPEAKERS,
    )
    return {
        name: clips_of(keywords if name == "keywords" else heard, words)
        for name, words in groups.items()
    }


def clips_of(source: SyntheticSource, words: Collection[str]) -> list[Path]:
    root = source.prepare().root
    paths = (root / TESTING_LIST).read_text(encoding="utf-8").splitlines()
    return [root / path for path in paths if path.split("/")[0] in words]


def train(folder: Path, seed: int, overrides: list[str]) -> Path:
    arguments = [*SETTINGS, f"seed={seed}", *overrides]
    for command in (["train", *arguments], ["export"]):
        program = [sys.executable, "-m", f"speech_commands_kws.{command[0]}", *command[1:]]
        subprocess.run(program, cwd=folder, check=True, stdout=sys.stderr)
    return newest_export(folder / "plots" / "runs")


def keyword_scores(spotter: KeywordSpotter, clips: list[Path]) -> np.ndarray:
    """For each clip the probability of its best class, where that is a keyword, and otherwise 0."""
    keywords = [spotter.labels.index(word) for word in KEYWORDS]
    scores = []
    for paths in batched(clips, BATCH_SIZE):
        waveforms = np.stack([read_audio(path, spotter.sample_rate) for path in paths])
        rows = spotter.score(waveforms)
        scores.append(np.where(np.isin(rows.argmax(axis=1), keywords), rows.max(axis=1), 0.0))
    return np.concatenate(scores)


def threshold_of(scores: np.ndarray) -> float:
    """The highest that so many keywords reach; 0 where fewer are heard at all."""
    return float(np.quantile(scores, 1 - RECALL, method="lower"))


def main() -> None:
    console = Console(file=sys.stderr)
    overrides = [word for word in sys.argv[1:] if "=" in word]
    arms = [word for word in sys.argv[1:] if word in ARMS] or list(ARMS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = configured_source(folder / "data")
        groups = groups_of_words(source)
        console.print(groups)
        clips = spoken(source, groups)
        fired: dict[str, dict[str, list[float]]] = {}
        for seed in SEEDS:
            for arm in arms:
                spotter = KeywordSpotter(train(folder, seed, [*ARMS[arm], *overrides]))
                scored = {group: keyword_scores(spotter, paths) for group, paths in clips.items()}
                threshold = threshold_of(scored["keywords"])
                for group, scores in scored.items():
                    for column, least in ((arm, 0.0), (f"{arm}, {RECALL:.0%}", threshold)):
                        shares = fired.setdefault(column, {}).setdefault(group, [])
                        shares.append(float(((scores > 0) & (scores >= least)).mean()))
                console.print(seed, arm, threshold, fired)
    table = Table(title=f"share of clips that fire, {len(SEEDS)} seeds")
    for head in ("said", "clips", *fired):
        table.add_column(head, justify="left" if head == "said" else "right")
    for group, paths in clips.items():
        means = [f"{statistics.mean(shares[group]):.1%}" for shares in fired.values()]
        table.add_row(group, str(len(paths)), *means)
    console.print(table)
    print(json.dumps({"seeds": len(SEEDS), "settings": overrides, "words": groups, "fired": fired}))


if __name__ == "__main__":
    main()
