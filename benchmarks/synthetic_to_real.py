"""From synthetic speech to people: how well a spotter understands people of whom it has heard nothing, or little.

Protocol
    Spotters of the ten commands of Speech Commands are trained on synthetic speech (data=synthetic), for several
    seeds: as configured; from other words of people (`other-words`: a network trained on the 25 words that are no
    command lends its weights, init=); beside other words of people (`auxiliary`: the 25 words are an auxiliary task,
    and the synthetic voices say them as `_unknown_`); and with k recordings of s speakers each among the synthetic
    clips (`5x3`, data=mixed), who are drawn by the seed from the training speakers with k clips of each command. No
    other recording of a command is trained on. All are scored on recordings of people: on the validation split of
    Speech Commands while one chooses between settings, on its test set (split=test) once at the end. Given are the
    mean over the seeds and, in brackets, the lowest and the highest: accuracy over the twelve classes, recall of all
    commands and of the worst of them, and the share of clips of other words that are taken for a command.

    python benchmarks/synthetic_to_real.py SPEECH TEST_SET RUNS [ARM...] [split=validation] [seeds=3] [SETTING=VALUE]

SPEECH and TEST_SET are data/speech_commands_v0.02 and data/speech_commands_test_set_v0.02 or like them. Runs and scores
go to the folder RUNS, where what is there already is not trained again: a folder for each set of settings, which go to
every `kws train`. An ARM is `synthetic`, `other-words`, `auxiliary` or such as `5x3`; all, unless some are named.
Prints a table, and JSON on the last line.
"""

import json
import random
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.data.speech_tree import TESTING_LIST, VALIDATION_LIST
from speech_commands_kws.labels import UNKNOWN, is_keyword

OPTIONS = {"split": "validation", "seeds": "3"}
# How many recordings of how many speakers.
RECORDED = [(count, speakers) for count in (1, 3, 5) for speakers in (1, 3, 5)]
ALONE, FROM_OTHER_WORDS, BESIDE_OTHER_WORDS = "synthetic", "other-words", "auxiliary"
ARMS = [
    ALONE,
    FROM_OTHER_WORDS,
    BESIDE_OTHER_WORDS,
    *(f"{count}x{speakers}" for count, speakers in RECORDED),
]
# Of the training on other words.
OTHER_WORDS = ["task=gsc35", "augment=robust", "trainer.max_epochs=20"]
# Of one beside them: each synthetic voice says each of the words.
BESIDE = ["auxiliary=words", "data.source.unknown_per_speaker=25", "loader.unknown_share=3"]


class Benchmark:
    """What is the same in all trainings.

    Args:
        speech: a Speech Commands tree.
        test_set: its test set of twelve classes.
        runs: folder of the runs and their scores.
        settings: of every training.
    """

    def __init__(self, speech: Path, test_set: Path, runs: Path, settings: Sequence[str]):
        self.speech, self.runs, self.settings = speech, runs, settings
        with initialize_config_dir(CONFIG_DIR):
            self.commands = list(compose("train", ["data=speech_commands"]).data.words)
        self.people = [
            "data=speech_commands",
            f"data.root={speech}",
            f"data.test_root={test_set}",
        ]

    def trained(self, name: str, settings: Iterable[str]) -> Path:
        """The folder of a run, which is trained unless it is there."""
        folder = self.runs / name
        if not (folder / "done").exists():
            given = [*self.settings, *settings, "logger=none", f"folder={folder}"]
            # What an arm sets takes the place of what is set for all.
            command("train", *{setting.partition("=")[0]: setting for setting in given}.values())
            (folder / "done").touch()
        return folder

    def arm(self, arm: str, seed: int) -> Path:
        """A trained run of an arm."""
        name, settings = f"{arm}_{seed}", [f"seed={seed}"]
        if arm == FROM_OTHER_WORDS:
            parent = self.trained(f"parent_{seed}", [*settings, *self.other_words()])
            settings.append(f"init={parent}")
        elif arm == BESIDE_OTHER_WORDS:
            words = self.named_other_words()
            settings += [*BESIDE, f"auxiliary.root={self.speech}", f"data.unknown_words={words}"]
        elif arm != ALONE:
            count, speakers = map(int, arm.split("x"))
            settings += self.recorded(count, speakers, seed)
        return self.trained(name, settings)

    def other_words(self) -> list[str]:
        named = self.named_other_words()
        return [
            *self.people,
            "data.test_root=null",
            f"data.words={named}",
            f"task.words={named}",
            *OTHER_WORDS,
        ]

    def named_other_words(self) -> str:
        """A setting's list of the words that are no command."""
        folders = [path.name for path in self.speech.iterdir() if path.is_dir()]
        words = sorted(name for name in folders if is_keyword(name) and name not in self.commands)
        return f"[{','.join(word for word in words if not word.startswith('_'))}]"

    def recorded(self, count: int, speakers: int, seed: int) -> list[str]:
        """Settings for some recordings of some speakers, of whom a folder of links is made."""
        folder = self.runs / "recordings" / f"{count}x{speakers}_{seed}"
        if not folder.is_dir():
            for path in self.drawn(count, speakers, seed):
                link = folder / path.parent.name / path.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
        return [
            "data=mixed",
            f"data.root={folder}",
            f"data.words=[{','.join(self.commands)}]",
            # All train; what counts is measured on other people.
            "data.split_rule=published",
            "data.validation_percent=0",
            "data.test_percent=0",
        ]

    def drawn(self, count: int, speakers: int, seed: int) -> list[Path]:
        """Clips of the training split: so many of each command by so many speakers who have them all."""
        held_out = {
            line
            for name in (VALIDATION_LIST, TESTING_LIST)
            for line in (self.speech / name).read_text(encoding="utf-8").split()
        }
        clips = defaultdict(lambda: defaultdict(list))
        for word in self.commands:
            for path in sorted((self.speech / word).iterdir()):
                if f"{word}/{path.name}" not in held_out:
                    clips[path.name.partition("_")[0]][word].append(path)
        able = [
            name
            for name, said in clips.items()
            if len(said) == len(self.commands) and min(map(len, said.values())) >= count
        ]
        chosen = random.Random(seed).sample(sorted(able), speakers)
        return [path for name in chosen for said in clips[name].values() for path in said[:count]]

    def scores(self, run: Path, split: str) -> dict[str, Any]:
        """What `kws evaluate` says of a run on recordings of people."""
        path = run / f"people_{split}.json"
        if not path.exists():
            settings = [
                *self.people,
                f"split={split}",
                "robustness=none",
                f"folder={run / 'people'}",
            ]
            places = [setting for setting in self.settings if setting.startswith("paths.")]
            command("evaluate", f"run={run}", *settings, *places, f"json_file={path}")
        return json.loads(path.read_text(encoding="utf-8"))


def command(name: str, *settings: str) -> None:
    program = [sys.executable, "-m", f"speech_commands_kws.{name}"]
    subprocess.run([*program, *settings], stdout=sys.stderr, check=True)


def figures(scores: dict[str, Any]) -> dict[str, float]:
    """The figures of the table, shares."""
    labels, counts = scores["confusion"]["labels"], scores["confusion"]["counts"]
    rows = dict(zip(labels, counts, strict=True))
    recalls = {word: scores["classes"][word]["recall"] for word in filter(is_keyword, labels)}
    said, right = Counter(), Counter()
    for k, word in enumerate(labels):
        if is_keyword(word):
            said["commands"] += sum(rows[word])
            right["commands"] += rows[word][k]
    taken = zip(labels, rows[UNKNOWN], strict=True)
    fired = sum(count for label, count in taken if is_keyword(label))
    return {
        "accuracy": scores["accuracy"],
        "commands": right["commands"] / said["commands"],
        "worst command": min(recalls.values()),
        "other words that fire": fired / sum(rows[UNKNOWN]),
        **{f"recall of {word}": recall for word, recall in recalls.items()},
    }


def table_of(arms: dict[str, list[dict[str, float]]]) -> Table:
    table = Table("trained on")
    names = ["accuracy", "commands", "worst command", "other words that fire"]
    for name in names:
        table.add_column(name, justify="right")
    for arm, seeds in arms.items():
        table.add_row(arm, *(spread([100 * found[name] for found in seeds]) for name in names))
    return table


def spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f} % ({min(values):.1f}, {max(values):.1f})"


def main() -> None:
    speech, test_set, runs, *words = sys.argv[1:]
    options = dict(OPTIONS)
    named = [word.partition("=") for word in words if "=" in word]
    options |= {name: value for name, _, value in named if name in OPTIONS}
    settings = ["=".join((name, value)) for name, _, value in named if name not in OPTIONS]
    benchmark = Benchmark(*(Path(name).absolute() for name in (speech, test_set, runs)), settings)
    arms: dict[str, list[dict[str, float]]] = {}
    for arm in [word for word in words if "=" not in word] or ARMS:
        for seed in range(int(options["seeds"])):
            scores = benchmark.scores(benchmark.arm(arm, seed), options["split"])
            arms.setdefault(arm, []).append(figures(scores))
    Console().print(table_of(arms))
    print(json.dumps({**options, "settings": settings, "arms": arms}))


if __name__ == "__main__":
    main()
