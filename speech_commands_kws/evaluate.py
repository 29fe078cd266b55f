"""Score a checkpoint or an exported model on a split or a folder: `kws evaluate model.onnx`."""

import json
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.evaluation import (
    check_settings,
    find_model,
    open_data,
    open_model,
    pictures_folder,
)
from speech_commands_kws.assembly.report import report_file, write_evaluation, write_streams
from speech_commands_kws.assembly.streaming import PICTURE, evaluate_streams
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.errors import display_name
from speech_commands_kws.evaluation import scoring, tables
from speech_commands_kws.evaluation.streaming.tables import write_point
from speech_commands_kws.figures.evaluation import draw
from speech_commands_kws.files.atomic import make_writable, write_json_file


def run(cfg: DictConfig) -> float:
    """Write figures to standard output and pictures into a folder; return the accuracy."""
    check_settings(cfg)
    page = report_file(cfg)
    if cfg.get("protocol"):
        return evaluate_streaming(cfg, page)
    robustness = build(cfg.robustness) if cfg.robustness else None
    path, run_folder = find_model(cfg)
    info, predict = open_model(path, cfg)
    data = open_data(cfg, info, run_folder)
    folder = pictures_folder(cfg, run_folder, data)
    make_writable(folder)
    batches = -(-len(data.clips.targets) // cfg.batch_size)
    watch = partial(progress, doing="scoring", total=batches)
    scores = scoring.score(predict, data.clips, info.labels, cfg.batch_size, watch)
    facts = scoring.summary(scores, cfg.bins, cfg.worst)
    if robustness:
        # What noise a model has heard, its own facts tell.
        heard = info.training.get("noise_held_out", 0.0) < robustness.held_out
        watch = partial(progress, doing="noise and rooms")
        facts["robustness"] = robustness.measure(
            predict, data.clips, scores, info.sample_rate, cfg.batch_size, heard, watch
        )
    model = f"{run_folder.name}/{path.name}" if run_folder else path.name
    title = f"{data.title}: {scoring.headline(facts)}\n{model}"
    worst = scoring.worst_clips(scores, data.clips, cfg.worst)
    robust = facts.get("robustness")
    pictures = draw(scores, worst, info.frontend, title, cfg.bins, folder, robust)
    origin = {
        "model": str(path),
        "model_sha256": sha256(path.read_bytes()).hexdigest(),
        "split": None if cfg.input is not None else cfg.split,
        "data": data.title,
        "description": data.description,
        "data_fingerprint": data.clips.fingerprint,
    }
    facts = origin | facts | {"pictures": str(folder)}
    if page:
        about = f"{model}\n{data.title}: {scoring.headline(facts)}\n{data.description}"
        write_evaluation(page, about, info, run_folder, pictures, facts, worst)
        facts["report"] = str(page)
    report(title, facts, cfg.format, cfg.json_file)
    return scores.accuracy


def evaluate_streaming(cfg: DictConfig, page: Path | None) -> float:
    """Write what a listener misses and how often it is wrong to standard output; return the share that it finds."""
    facts = evaluate_streams(cfg)
    if page:
        write_streams(page, facts)
        facts["report"] = str(page)
    if cfg.format == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        write_point(facts, sys.stdout)
        if "pictures" in facts:
            print(f"picture: {display_name(facts['pictures'])}/{PICTURE}")
        if page:
            print(f"report: {display_name(page)}")
    write_json_file(cfg.json_file, facts)
    return 1 - facts["misses"]["miss_rate"]


def report(title: str, facts: dict[str, Any], form: str, json_file: str | None) -> None:
    """Write the figures to standard output and, on request, to a file."""
    if form == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        tables.write_scores(title, facts, sys.stdout)
        if facts.get("robustness"):
            tables.write_robustness(facts["robustness"], sys.stdout)
        print(f"pictures: {display_name(facts['pictures'])}")
        if "report" in facts:
            print(f"report: {display_name(facts['report'])}")
    write_json_file(json_file, facts)


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="evaluate", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
