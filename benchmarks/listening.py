"""Listening: what streaming models miss, and how often they are wrong, as the tables of docs/benchmarks.md.

Protocol
    `kws evaluate split=test` of each run: the words of the test split in each condition, the recordings of
    `make speech-corpora` and 20 hours of synthetic talk (10 minutes of processor time a model), at the threshold that
    `kws tune` has written into the model's file. Without synthetic talk: protocol.ambient.talk_hours=0.

    python benchmarks/listening.py RUN... [SETTING=VALUE...]     prints both tables, and JSON on the last line

A RUN is as `kws evaluate run=` takes it, or a file that `json_file=` has written; settings go to `kws evaluate`.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from speech_commands_kws.evaluation.streaming.tables import shown_rate

SOUNDS = ["protocol=talk", "protocol.ambient.folder=${paths.data}/corpora/${split}", "split=test"]
MS_PER_SECOND = 1000
CONDITIONS = {"clean": "missed, clean", "10 dB": "10 dB", "0 dB": "0 dB", "room": "in a room"}
KINDS = {
    "speech_cs": "Czech dialogues",
    "speech_ru": "Russian sentences",
    "speech_en": "English prompts",
}


def evaluated(run: str, settings: Sequence[str]) -> dict[str, Any]:
    """The figures of a run, or of a file of them."""
    if run.endswith(".json"):
        return json.loads(Path(run).read_text(encoding="utf-8"))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "speech_commands_kws.evaluate", f"run={run}", *SOUNDS]
        command += [f"json_file={path}", *settings]
        subprocess.run(command, stdout=sys.stderr, check=True)
        return evaluated(str(path), [])


def listens_for(figures: dict[str, Any]) -> str:
    keywords = list(figures["thresholds"])
    return f"`{keywords[0]}`" if len(keywords) == 1 else f"{len(keywords)} words"


def missed(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"{100 * found['miss_rate']:.1f} % ({100 * low:.1f}, {100 * high:.1f})"


def words_table(models: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Misses and latency, a row a model."""
    late = "decided after the word's end, median and 95 %"
    yield ["listening for", *CONDITIONS.values(), late]
    for figures in models:
        conditions = figures["misses_by_condition"]
        times = (figures["latency_seconds"][name] for name in ("median", "p95"))
        latency = ", ".join(f"{MS_PER_SECOND * seconds:.0f} ms" for seconds in times)
        cells = [missed(conditions[name]) for name in CONDITIONS]
        yield [listens_for(figures), *cells, latency]


def sounds_table(models: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """False alarms, a column a model; beside them the events of what is said in the sound."""
    yield ["false alarms an hour (95 % limit)", "hours", *map(listens_for, models)]
    for kind, found in models[0]["false_alarms_by_kind"].items():
        cells = []
        for figures in models:
            alarms = figures["false_alarms_by_kind"][kind]
            said = f", {alarms['said_or_alike']} said" if alarms["said_or_alike"] else ""
            cells.append(f"{alarms['per_hour']:.1f} ({shown_rate(alarms['limit_95'])}){said}")
        yield [KINDS.get(kind, kind), f"{found['hours']:.2f}", *cells]


def markdown(rows: Iterable[list[str]]) -> str:
    heads, *body = rows
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    settings = [text for text in sys.argv[1:] if "=" in text]
    runs = [text for text in sys.argv[1:] if "=" not in text]
    models = [evaluated(run, settings) for run in runs]
    for table in (words_table, sounds_table):
        print(markdown(table(models)), end="\n\n")
    print(json.dumps(dict(zip(runs, models, strict=True))))


if __name__ == "__main__":
    main()
