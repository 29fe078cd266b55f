"""Look a data set over: `kws check-data data=folder data.root=recordings picture=check.png`. Nothing is changed."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, build, run_answering
from speech_commands_kws.data import quality
from speech_commands_kws.data.packed import PackedClips, pack_folder
from speech_commands_kws.data.quality import ClipTable, Finding, Limits, Measures
from speech_commands_kws.data.speech_tree import (
    SPLITS,
    SpeechTree,
    assign_splits,
    words_and_speakers,
)
from speech_commands_kws.errors import KwsError, display_name
from speech_commands_kws.inference.locate import locate_model
from speech_commands_kws.inference.spotter import KeywordSpotter

FORMATS = ("table", "json", "csv")
SHOWN_PERCENTILES = (10, 50, 90)


@dataclass(frozen=True)
class Report:
    """What is known about a data set; `counts` has one row a word: clips by split, and speakers."""

    title: str
    tree: SpeechTree
    packed: PackedClips
    labelled: ClipTable
    speakers: int
    counts: dict[str, dict[str, int]]
    measures: Measures
    findings: list[Finding]

    @property
    def kinds(self) -> dict[str, int]:
        """How many findings there are of each kind that there are any of, the worst kind first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in quality.KINDS if found[kind]}


def run(cfg: DictConfig) -> float:
    """Write the report to standard output; return the number of findings."""
    if cfg.format not in FORMATS:
        raise KwsError(f"format must be one of {', '.join(FORMATS)}, got {cfg.format}")
    spotter = open_model(cfg) if cfg.model is not None else None
    report = inspect(cfg, spotter)
    if cfg.format == "table":
        show(report, cfg.examples)
    else:
        write_data(report, cfg.format)
    if cfg.picture is not None:
        draw(report, cfg)
    return float(len(report.findings))


def open_model(cfg: DictConfig) -> KeywordSpotter:
    """Raises KwsError where the model takes other clips than the ones that are looked at."""
    model = locate_model(cfg.model, cfg.paths.runs, build(cfg.registry))
    spotter = KeywordSpotter(model, backend=build(cfg.backend))
    if (spotter.sample_rate, spotter.clip_samples) != (cfg.sample_rate, clip_samples(cfg)):
        raise KwsError(
            f"{model} takes {spotter.clip_samples / spotter.sample_rate:g} s at {spotter.sample_rate} Hz: "
            "set clip_seconds and sample_rate to that"
        )
    return spotter


def clip_samples(cfg: DictConfig) -> int:
    return round(cfg.clip_seconds * cfg.sample_rate)


def inspect(cfg: DictConfig, spotter: KeywordSpotter | None) -> Report:
    limits: Limits = build(cfg.limits)
    tree = build(cfg.data.source).prepare()
    signal = (cfg.sample_rate, clip_samples(cfg))
    packed = pack_folder(tree.root, tree.pattern, Path(cfg.cache), *signal)
    words, speakers = words_and_speakers(packed.paths, tree.pattern)
    splits = assign_splits(tree, packed.paths, speakers)
    labelled = ClipTable(packed.paths, packed.clips, words, splits)
    parts = blocks(len(words), cfg.batch_size, "measuring")
    measures = quality.measure(packed.clips, cfg.sample_rate, limits.loud_seconds, parts)
    findings = [Finding(quality.UNUSABLE, "", "", "", reason) for reason in packed.left_out]
    findings += quality.duplicates(labelled, measures.digests)
    findings += quality.judge(labelled, measures, limits)
    if spotter is not None:
        parts = blocks(len(words), cfg.batch_size, "listening")
        findings += quality.disagreements(
            labelled, spotter.labels, spotter.score, limits.sure, parts
        )
    findings.sort(key=lambda finding: quality.KINDS.index(finding.kind))
    counts = class_balance(words, speakers, splits)
    title = f"{cfg.data.name}: {cfg.data.description}"
    return Report(title, tree, packed, labelled, len(set(speakers)), counts, measures, findings)


def blocks(count: int, size: int, doing: str) -> Iterable[slice]:
    """Consecutive slices, with a progress bar on standard error."""
    parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    return track(parts, doing, console=Console(stderr=True), transient=True)


def class_balance(
    words: Sequence[str], speakers: Sequence[str], splits: Sequence[str]
) -> dict[str, dict[str, int]]:
    clips = Counter(zip(words, map(str, splits), strict=True))
    people = Counter(word for word, _ in set(zip(words, speakers, strict=True)))
    return {
        word: {split: clips[word, split] for split in SPLITS} | {"speakers": people[word]}
        for word in sorted(people)
    }


def show(report: Report, examples: int) -> None:
    """For reading: the classes, then the kinds of findings with a few clips of each."""
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    console.print(display_name(f"{report.title}, in {report.tree.root}"), soft_wrap=True)
    n_clips = len(report.labelled.paths)
    low, middle, high = np.percentile(report.measures.level_db, SHOWN_PERCENTILES)
    console.print(
        f"{n_clips:,} clips by {report.speakers:,} speakers, {len(report.counts)} words; "
        f"level {middle:.0f} dBFS, {low:.0f} to {high:.0f} for four of five",
        soft_wrap=True,
    )
    balance = Table("word", box=SIMPLE, pad_edge=False)
    for name in (*SPLITS, "speakers"):
        balance.add_column(name, justify="right")
    for word, row in report.counts.items():
        balance.add_row(display_name(word), *(f"{number:,}" for number in row.values()))
    console.print(balance)
    if not report.findings:
        console.print("nothing to look at")
        return
    table = Table("to look at", box=SIMPLE, pad_edge=False)
    table.add_column("clips", justify="right")
    table.add_column("for example", overflow="fold")
    for kind, count in report.kinds.items():
        some = [finding for finding in report.findings if finding.kind == kind][:examples]
        texts = [f"{finding.file} {finding.detail}".strip() for finding in some]
        table.add_row(kind, f"{count:,}", display_name("; ".join(texts)))
    console.print(table)
    console.print("format=csv names every clip", soft_wrap=True)


def write_data(report: Report, form: str) -> None:
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(Finding._fields)
        writer.writerows(report.findings)
        return
    facts: dict[str, Any] = {
        "data": report.title,
        "root": str(report.tree.root),
        "fingerprint": report.packed.fingerprint,
        "clips": len(report.labelled.paths),
        "speakers": report.speakers,
        "words": report.counts,
        "counts": report.kinds,
        "findings": [finding._asdict() for finding in report.findings],
    }
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def draw(report: Report, cfg: DictConfig) -> None:
    # Here and not above: a table needs no matplotlib.
    from speech_commands_kws.figures.dataset import plot_data

    path = Path(str(cfg.picture)).expanduser()
    found = [f"{count:,} {kind}" for kind, count in report.kinds.items()]
    about = f"{len(report.labelled.paths):,} clips; to look at: {', '.join(found) or 'nothing'}"
    plot_data(
        report.counts,
        report.measures.level_db,
        report.labelled.splits,
        cfg.limits.silent_db,
        report.title,
        about,
        path,
    )
    print(f"picture: {display_name(path)}", file=sys.stderr)


@hydra.main(
    config_path=CONFIG_DIR, config_name="check_data", execution_whitelist=EXECUTION_WHITELIST
)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
