"""What each augmentation costs, beside a whole training step without any.

Protocol
    One thread, batches of 100 one-second clips of noise, BC-ResNet-1 with 12 classes, the configuration that
    `augment=robust` composes. Every part is timed ROUNDS times in turn after a warm-up, by the processor time of this
    process, so that other work on the machine counts less; the best round is given. "of all clips" is an augmentation
    that falls on every clip, "at its share" the same on the share of the clips that the configuration gives it.

    python benchmarks/augmentation_cost.py            prints a table, and JSON on the last line
"""

import json
import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor
from torch.nn import functional

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.models.spotter_module import SpotterModule

BATCH_SIZE, N_CLASSES, SILENT_CLIPS = 100, 12, 8
NOISE_SECONDS = 60
ROUNDS = 9
LEVEL = 0.1


def processor_seconds(work: Callable[[], Any]) -> float:
    work()
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        rounds.append(time.process_time() - began)
    return min(rounds)


def training_step(spotter: SpotterModule, waveform: Tensor, targets: Tensor) -> None:
    with torch.no_grad():
        log_mel = spotter.frontend.by_fft(waveform)
    functional.cross_entropy(spotter.backbone(log_mel), targets).backward()


def measure() -> dict[str, dict[str, float]]:
    """Clips per second of processor time: of all clips, and at the share of the configuration."""
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", ["augment=robust", "backbone.width=1", "seed=0"])

    generator = Generator().manual_seed(0)
    waveform = LEVEL * torch.randn(BATCH_SIZE, cfg.sample_rate, generator=generator)
    noise = LEVEL * torch.randn(NOISE_SECONDS * cfg.sample_rate, generator=generator)
    silence = torch.arange(BATCH_SIZE) < SILENT_CLIPS
    targets = torch.arange(BATCH_SIZE) % N_CLASSES
    sizes = {"n_classes": N_CLASSES, "n_mels": cfg.frontend.n_mels}
    spotter = SpotterModule(build(cfg.frontend), build(cfg.backbone, **sizes))
    chain = build(cfg.augment.waveform)
    recipe = build(compose_recipe().augment.waveform)
    mixup = build(cfg.augment.mixup, n_classes=N_CLASSES)
    for augment in (chain, recipe):
        augment.set_noise(noise)

    def rate(work: Callable[[], Any]) -> float:
        return round(BATCH_SIZE / processor_seconds(work))

    figures = {
        "training step": {"at its share": rate(lambda: training_step(spotter, waveform, targets))}
    }
    figures["augment=recipe"] = {"at its share": rate(lambda: recipe(waveform, silence, generator))}
    figures["augment=robust"] = {"at its share": rate(lambda: chain(waveform, silence, generator))}
    for name, step in chain.steps.items():
        at_share = rate(lambda: step(waveform, silence, generator))
        step.share = 1.0
        figures[name] = {
            "at its share": at_share,
            "of all clips": rate(lambda: step(waveform, silence, generator)),
        }
    mixup.share = 1.0
    figures["mixup"] = {"of all clips": rate(lambda: mixup(waveform, targets, generator))}
    return figures


def compose_recipe() -> Any:
    with initialize_config_dir(CONFIG_DIR):
        return compose("train", ["augment=recipe", "seed=0"])


def main() -> None:
    torch.set_num_threads(1)
    figures = measure()
    columns = ("of all clips", "at its share")
    table = Table("clips a second of processor time", *columns)
    for name, row in figures.items():
        table.add_row(name, *(f"{row[key]:,.0f}" if key in row else "" for key in columns))
    Console().print(table)
    versions = {"torch": torch.__version__, "machine": platform.machine()}
    print(json.dumps(versions | {"clips_per_second": figures}))


if __name__ == "__main__":
    main()
