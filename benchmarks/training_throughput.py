"""Training throughput: our pipeline beside a naive one of the structure that published BC-ResNet code has.

Protocol
    Both train BC-ResNet-1 (12 classes, 40 log-mel bins, batches of 100 one-second clips, SGD) on the same clips.
    naive   one file read per clip with soundfile, time shift and background noise per clip in Python, torchaudio's
            MelSpectrogram on the batch, the plain forward (structure of the published reference code, no worker
            processes)
    ours    the packed memory map, augmentation of whole batches on one thread, our front-end by FFT and the training
            forward by a team of threads
    Every part and both whole pipelines are timed in turn, ROUNDS times in one process, and the median and the best
    of the rounds are given, so that a burst of other work on the machine hits all alike. The clips are noise made
    here: speed does not depend on what is said. The ratio is the median of the rounds' ratios, each of two neighbours
    in time.

    python benchmarks/training_throughput.py            prints a table, and JSON on the last line
"""

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from speech_commands_kws.augment.recipe import ShiftAndNoise
from speech_commands_kws.data.packed import pack_folder
from speech_commands_kws.data.sampler import EpochBatches
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.data.training_batches import TrainingClips, as_waveforms
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.frontend import LogMel
from speech_commands_kws.models.thread_team import ThreadTeam

SAMPLE_RATE = 16000
N_CLASSES = 12
N_CLIPS = 1000
BATCH_SIZE = 100
BATCHES_A_ROUND = 4
LOADER_BATCHES_A_ROUND = 10
ROUNDS = 15
NOISE_SECONDS = 60
SHIFT_SAMPLES = 1600
NOISE_AMPLITUDE = 0.1
PROBABILITY = 0.8
MEL = dict(window_ms=30, hop_ms=10, n_fft=512, n_mels=40, f_min=0, f_max=8000, log_floor=1e-6)


class NaiveClips(Dataset):
    """A clip at a time, read and augmented in Python."""

    def __init__(self, root: Path, noise: np.ndarray):
        self.paths = sorted(root.glob("word*/*.wav"))
        self.noise = torch.from_numpy(noise)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        if np.random.random() < PROBABILITY:
            moved = np.random.randint(-SHIFT_SAMPLES, SHIFT_SAMPLES + 1)
            waveform = functional.pad(waveform, (max(moved, 0), max(-moved, 0)))
            waveform = waveform[:SAMPLE_RATE] if moved > 0 else waveform[-SAMPLE_RATE:]
            start = np.random.randint(0, len(self.noise) - SAMPLE_RATE)
            excerpt = self.noise[start : start + SAMPLE_RATE]
            waveform = (waveform + excerpt * np.random.uniform(0, NOISE_AMPLITUDE)).clamp(-1, 1)
        return waveform, int(path.parent.name.removeprefix("word"))


def write_clips(root: Path) -> np.ndarray:
    """A tree of noise clips; returns the background noise, (samples,) float32."""
    generator = np.random.default_rng(0)
    for i in range(N_CLIPS):
        path = root / f"word{i % N_CLASSES}" / f"{i:08x}_nohash_0.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path, generator.uniform(-0.5, 0.5, SAMPLE_RATE), SAMPLE_RATE, subtype="PCM_16"
        )
    return generator.uniform(-0.5, 0.5, NOISE_SECONDS * SAMPLE_RATE).astype(np.float32)


def endless(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def trainer(network: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """One optimizer step on (log_mel, targets)."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)

    def step(log_mel: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(log_mel), targets).backward()
        optimizer.step()

    return step


def parts(root: Path, noise: np.ndarray) -> dict[str, tuple[Callable[[], None], int]]:
    """What is timed: a function for one batch, and how many batches a round has."""
    naive_batches = endless(
        DataLoader(NaiveClips(root, noise), BATCH_SIZE, shuffle=True, drop_last=True)
    )
    packed = pack_folder(
        root, SPEECH_COMMANDS_PATTERN, root.parent / "packed", SAMPLE_RATE, SAMPLE_RATE
    )
    targets = np.array([int(path.split("/")[0].removeprefix("word")) for path in packed.paths])
    rows = EpochBatches(np.arange(N_CLIPS), np.arange(0), 0, 0, BATCH_SIZE, seed=0)
    our_batches = endless(
        DataLoader(TrainingClips(packed, targets, 0), sampler=rows, batch_size=None)
    )

    augment = ShiftAndNoise(PROBABILITY, 100, NOISE_AMPLITUDE, 1.0, None, SAMPLE_RATE)
    augment.set_noise(torch.from_numpy(noise))
    generator = torch.Generator().manual_seed(0)
    no_silence = torch.zeros(BATCH_SIZE, dtype=torch.bool)
    mel = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE, n_fft=512, win_length=480, hop_length=160, n_mels=40
    )
    frontend = LogMel(SAMPLE_RATE, **MEL)
    train_plain = trainer(BCResNet(N_CLASSES, 40, 1, 5, 0.1, fast_training=False))
    train_fast = trainer(BCResNet(N_CLASSES, 40, 1, 5, 0.1, fast_training=True))

    def naive_log_mel(waveform: Tensor) -> Tensor:
        return torch.log(mel(waveform) + 1e-6)[:, None]

    def naive() -> None:
        waveform, target = next(naive_batches)
        train_plain(naive_log_mel(waveform), target)

    def our_log_mel() -> None:
        with ThreadTeam() as team:
            team.over_clips(frontend.by_fft, waveform)

    def ours() -> None:
        clips, target = next(our_batches)
        with torch.no_grad(), ThreadTeam() as team:
            noisy = augment(as_waveforms(clips), no_silence, generator)
            log_mel = team.over_clips(frontend.by_fft, noisy)
        train_fast(log_mel, target)

    clips, target = next(our_batches)
    waveform = as_waveforms(clips)
    log_mel = frontend(waveform)
    few, many = BATCHES_A_ROUND, LOADER_BATCHES_A_ROUND
    return {
        "reading and augmenting, naive": (lambda: next(naive_batches), few),
        "loader, ours": (lambda: next(our_batches), many),
        "augmentation, ours": (
            lambda: augment(as_waveforms(clips), no_silence, generator),
            many,
        ),
        "front-end, torchaudio": (lambda: naive_log_mel(waveform), few),
        "front-end, ours": (our_log_mel, few),
        "training step, plain": (lambda: train_plain(log_mel, target), few),
        "training step, ours": (lambda: train_fast(log_mel, target), few),
        "whole pipeline, naive": (naive, few),
        "whole pipeline, ours": (ours, few),
    }


def clips_per_second(work: Callable[[], None], batches: int) -> float:
    began = time.perf_counter()
    for _ in range(batches):
        work()
    return batches * BATCH_SIZE / (time.perf_counter() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        noise = write_clips(Path(folder) / "clips")
        timed = parts(Path(folder) / "clips", noise)
        for work, _ in timed.values():  # warm-up
            work()
        rates = {name: [] for name in timed}
        for _ in range(ROUNDS):
            for name, (work, batches) in timed.items():
                rates[name].append(clips_per_second(work, batches))
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(
        ours / naive
        for ours, naive in zip(
            rates["whole pipeline, ours"], rates["whole pipeline, naive"], strict=True
        )
    )
    environment = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    table = Table(title=f"clips per second; {environment}")
    for column in ("part", "median", "best"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, values in rates.items():
        table.add_row(name, f"{median[name]:,.0f}", f"{max(values):,.0f}")
    table.add_row("ratio of the whole pipelines", f"{ratio:.2f}", "")
    Console(file=sys.stderr).print(table)
    print(json.dumps(environment | {"clips_per_second": median, "ratio": ratio}))


if __name__ == "__main__":
    main()
