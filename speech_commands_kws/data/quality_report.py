"""What was found in a data set, written as a table for a person or as CSV and JSON for programs."""

import csv
import json
from pathlib import Path
from typing import TextIO

import numpy as np

from speech_commands_kws.cli.terminal import csv_cell, text_console, write_rows
from speech_commands_kws.data.quality import Finding, Report
from speech_commands_kws.data.speech_tree import SPLITS
from speech_commands_kws.errors import display_name

SHOWN_PERCENTILES = (10, 50, 90)


def write_table(title: str, root: Path, report: Report, examples: int, stream: TextIO) -> None:
    """For reading: the classes, then the kinds of findings with a few clips of each."""
    console = text_console(stream)
    console.print(display_name(f"{title}, in {root}"), soft_wrap=True)
    counts = report.counts
    n_clips = len(report.clips)
    low, middle, high = np.percentile(report.levels_db, SHOWN_PERCENTILES)
    console.print(
        f"{n_clips:,} clips by {report.n_speakers:,} speakers, {len(counts)} words; "
        f"level {middle:.0f} dBFS, {low:.0f} to {high:.0f} for four of five",
        soft_wrap=True,
    )
    heads = (*SPLITS, "speakers")
    balance = [
        (display_name(word), *(f"{number:,}" for number in row.values()))
        for word, row in counts.items()
    ]
    write_rows(stream, ("word", *heads), balance, numbers=heads)
    console.print(
        "of the words that are not keywords, all together, training and evaluation use as many clips as of one keyword",
        soft_wrap=True,
    )
    empty = [split for split in SPLITS if not any(row[split] for row in counts.values())]
    if empty:
        console.print(
            f"no clip for {' and '.join(empty)}: record more speakers, or name who is held out in "
            "data.validation_speakers and data.test_speakers",
            soft_wrap=True,
        )
    if not report.findings:
        console.print("nothing to look at")
        return
    kinds = []
    for kind, count in report.kinds.items():
        some = [finding for finding in report.findings if finding.kind == kind][:examples]
        texts = [f"{finding.file} {finding.detail}".strip() for finding in some]
        kinds.append((kind, f"{count:,}", display_name("; ".join(texts))))
    heads = ("to look at", "clips", "for example")
    write_rows(stream, heads, kinds, numbers=("clips",), wrapped="for example")
    console.print("format=csv names every clip", soft_wrap=True)


def write_csv(report: Report, stream: TextIO) -> None:
    """A row for every finding."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Finding._fields)
    writer.writerows(map(csv_cell, finding) for finding in report.findings)


def write_json(title: str, root: Path, fingerprint: str, report: Report, stream: TextIO) -> None:
    facts = {
        "data": title,
        "root": str(root),
        "fingerprint": fingerprint,
        "clips": len(report.clips),
        "speakers": report.n_speakers,
        "words": report.counts,
        "counts": report.kinds,
        "findings": [finding._asdict() for finding in report.findings],
    }
    stream.write(json.dumps(facts, indent=2) + "\n")
