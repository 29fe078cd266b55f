"""Pruning: what a search costs with a pruner, and whether it still finds the best.

Protocol
    The same search (TPE over learning rate, weight decay, width and augmentation, `sweep=optuna`) on synthetic speech
    is run without a pruner, with the median pruner and with Hyperband, for several seeds of the sampler; the three
    settings of a seed one after the other, so that other work on the machine hits all alike. Given are the ratios of
    the wall time and of the trained epochs, and the best validation accuracy of each search. The same best value
    means: within the interval that the seeds without a pruner span.

    python benchmarks/pruning.py [Hydra overrides]      prints a table, and JSON on the last line
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

SEEDS = range(3)
PRUNERS = ("none", "median", "hyperband")
TRIALS, EPOCHS = 16, 9
# Small enough for minutes, large enough to tell good settings from bad ones.
SETTINGS = [
    "data.words=[yes,no,stop]",
    "data.source.speakers=60",
    "data.source.takes_per_word=2",
    "data.source.unknown_per_speaker=4",
    "loader.batch_size=32",
    "logger=none",
    "backbone.width=1,1.5",
]


def search(folder: Path, pruner: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    name = f"{pruner}_{seed}"
    command = [
        *[sys.executable, "-m", "speech_commands_kws.train", "-m", "sweep=optuna"],
        *[f"sweep/pruner={pruner}", f"sweep.seed={seed}", f"sweep.name={name}"],
        *[f"sweep.trials={TRIALS}", f"trainer.max_epochs={EPOCHS}", *SETTINGS, *overrides],
    ]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    storage = f"sqlite:///{folder}/plots/studies.db"
    study = optuna.load_study(study_name=name, storage=storage)
    epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    return {"seconds": seconds, "epochs": epochs, "best": study.best_value}


def main() -> None:
    console = Console(file=sys.stderr)
    found: dict[str, list[dict[str, Any]]] = {pruner: [] for pruner in PRUNERS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            for pruner in PRUNERS:
                found[pruner].append(search(Path(folder), pruner, seed, sys.argv[1:]))
                console.print(seed, pruner, found[pruner][-1])
    table = Table(title=f"{TRIALS} trials of {EPOCHS} epochs, {len(SEEDS)} seeds")
    for head in ("pruner", "wall time", "epochs", "best of each seed"):
        table.add_column(head)
    summary = {}
    for pruner, searches in found.items():
        ratios = {
            key: statistics.median(
                each[key] / plain[key] for each, plain in zip(searches, found["none"], strict=True)
            )
            for key in ("seconds", "epochs")
        }
        best = [each["best"] for each in searches]
        summary[pruner] = ratios | {"best": best}
        shown = " ".join(f"{value:.4f}" for value in best)
        table.add_row(pruner, f"{ratios['seconds']:.2f}", f"{ratios['epochs']:.2f}", shown)
    console.print(table)
    print(json.dumps({"trials": TRIALS, "epochs": EPOCHS, "pruners": summary}))


if __name__ == "__main__":
    main()
