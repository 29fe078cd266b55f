"""The scoreboard of recognition on Speech Commands: the tables of docs/models.md, from the folders of runs alone.

Protocol
    Runs whose saved configurations differ in nothing but the seed make one row, the mean over their seeds; a run that
    has not finished is left out. Each run is exported in fp32, fp16 and int8, and `kws evaluate` scores the fp32 file.
    Intervals hold 95 %: over the seeds by Student's t, which says how much another seed may differ; of one seed that
    of its clips (Wilson), which says how much other clips may. Hours of training are the median time between epochs
    in the log, times their number. Latency is the median for a clip on one thread, the forms of a run in turns; of a
    streaming form it is that of CALL_MS of sound. A variant is measured even where `kws export` would refuse it.
    Open set: the recordings below each folder in SPEECH, but those in whose transcript a keyword is, are cut into
    pieces as long as a clip, pauses and all; a piece fires where a keyword exceeds the file's own threshold.

    python benchmarks/recognition.py RUN... [split=validation] [clips=100] [speech=SPEECH] [SETTING=VALUE...]

split=test also scores the test split: once for each model that is released, to choose nothing by it. `clips` is that of
the robustness, for each noise, room and level. Settings go to `kws export` and `kws evaluate`. What was measured lies
in RUN/recognition, where what is newer than the checkpoint is not measured again; remove the folder to do so. Writes
the tables between the marks of docs/models.md, and JSON on the last line.
"""

import json
import sys
from pathlib import Path

from recognition_runs import Run, say
from recognition_tables import backbone_of, grouped, page_of

from speech_commands_kws.tracking import runs

OPTIONS = {"split": "validation", "clips": "100", "speech": ""}
PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- recognition -->", "<!-- /recognition -->"


def main() -> None:
    words = [word.partition("=") for word in sys.argv[1:] if "=" in word]
    options = OPTIONS | {name: value for name, _, value in words if name in OPTIONS}
    settings = ["=".join((name, value)) for name, _, value in words if name not in OPTIONS]
    found = []
    for folder in (Path(word).absolute() for word in sys.argv[1:] if "=" not in word):
        if (folder / runs.HISTORY_FILE).is_file():
            found.append(Run(folder, options, settings))
        else:
            say(f"{folder.name} is left out: it has not finished")
    measured = {}
    for number, run in enumerate(found, 1):
        say(f"{number}/{len(found)}: {run.folder.name}")
        measured[str(run.folder)] = run.facts
    groups = {
        f"{number}: {backbone_of(group[0].config)}": group
        for number, group in enumerate(grouped(found), 1)
    }
    text = page_of(groups, options)
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(text)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
