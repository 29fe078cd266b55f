"""Training throughput on a machine that others use too.

Protocol
    Whole training steps of BC-ResNet-1 on batches of 100 clips of noise, augmentation (`augment=robust`) and front-end
    too, while so many other processes compute without a pause: on one thread; on all cores by a team of threads, as a
    training does it; and with torch's own threads for augmentation and front-end. All are tried in turn, ROUNDS times,
    STEPS steps each; medians are given. A fair share is that of the cores which so many threads have among the others,
    cores / (others + threads), at most 1, of the rate of one thread alone.

    python benchmarks/busy_machine.py            prints a table, and JSON on the last line
"""

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from training_throughput import BATCH_SIZE, N_CLASSES, trainer

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.models.thread_team import ThreadTeam

OTHERS = (0, 2, 10)
ROUNDS = 5
STEPS = 4
ONE, TEAM, TORCH = "one thread", "team of threads", "torch's threads"
LEVEL, NOISE_SECONDS = 0.1, 60


def compute_for_ever() -> None:
    while True:
        pass


def training_steps() -> dict[str, Callable[[], None]]:
    """A training step in each form."""
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["augment=robust", "backbone.width=1"])
    augment, frontend = build(cfg.augment.waveform), build(cfg.frontend)
    augment.set_noise(LEVEL * torch.randn(NOISE_SECONDS * cfg.sample_rate))
    waveform = LEVEL * torch.randn(BATCH_SIZE, cfg.sample_rate)
    targets = torch.arange(BATCH_SIZE) % N_CLASSES
    step = trainer(build(cfg.backbone, n_classes=N_CLASSES, n_mels=cfg.frontend.n_mels))
    generator = torch.Generator().manual_seed(0)

    def by_team() -> None:
        with torch.no_grad(), ThreadTeam() as team:
            noisy = augment(waveform, targets < 0, generator)
            log_mel = team.over_clips(frontend.by_fft, noisy)
        step(log_mel, targets)

    def by_torch() -> None:
        with torch.no_grad():
            log_mel = frontend.by_fft(augment(waveform, targets < 0, generator))
        step(log_mel, targets)

    return {ONE: by_team, TEAM: by_team, TORCH: by_torch}


def clips_per_second(work: Callable[[], None], threads: int) -> float:
    torch.set_num_threads(threads)
    work()
    began = time.perf_counter()
    for _ in range(STEPS):
        work()
    return STEPS * BATCH_SIZE / (time.perf_counter() - began)


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    forms = training_steps()
    forms[ONE]()  # compiles the loops
    rates = {(others, form): [] for others in OTHERS for form in forms}
    for _ in range(ROUNDS):
        for others, form in rates:
            processes = [
                multiprocessing.Process(target=compute_for_ever, daemon=True) for _ in range(others)
            ]
            for process in processes:
                process.start()
            rates[others, form].append(clips_per_second(forms[form], 1 if form == ONE else cores))
            for process in processes:
                process.kill()
    median = {key: statistics.median(values) for key, values in rates.items()}
    table = Table(title=f"clips per second, {cores} cores")
    for column in ("other processes", "form", "median", "worst", "fair share"):
        table.add_column(column, justify="left" if column == "form" else "right")
    for (others, form), values in rates.items():
        threads = 1 if form == ONE else cores
        fair = median[0, ONE] * threads * min(1, cores / (others + threads))
        figures = (median[others, form], min(values), fair)
        table.add_row(str(others), form, *(f"{figure:,.0f}" for figure in figures))
    Console(file=sys.stderr).print(table)
    print(json.dumps({f"{others} others, {form}": rate for (others, form), rate in median.items()}))


if __name__ == "__main__":
    main()
