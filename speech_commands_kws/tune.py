"""Choose the threshold of a streaming model for a wanted rate: `kws tune false_alarms_per_hour=0.5`."""

import json
import sys
from dataclasses import replace

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.release import write_streaming_card
from speech_commands_kws.assembly.streaming import (
    draw_detection,
    open_streaming,
    score_streams,
    streams_of,
    tuning_of,
)
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import progress
from speech_commands_kws.data.speech_tree import SPLITS
from speech_commands_kws.errors import check_choice, check_positive, display_name
from speech_commands_kws.evaluation.streaming.operating_points import for_rate, summary
from speech_commands_kws.evaluation.streaming.tables import write_point
from speech_commands_kws.files.atomic import make_writable, replacing, write_json_file
from speech_commands_kws.labels import keywords_of
from speech_commands_kws.packaging.onnx_export import write_metadata
from speech_commands_kws.tracking import recording

FORMATS = ("table", "json")
PICTURES = "plots"


def run(cfg: DictConfig) -> float:
    """Write the threshold into the model file and what it costs to standard output; return the share missed."""
    check_choice(FORMATS, format=cfg.format)
    check_choice(SPLITS, split=cfg.split)
    check_positive(false_alarms_per_hour=cfg.false_alarms_per_hour)
    model, folder = open_streaming(cfg)
    known = keywords_of(model.info.labels)
    tuning, keywords = tuning_of(cfg, model), list(cfg.keywords or known)
    for keyword in keywords:
        check_choice(known, **{"a keyword of keywords": keyword})
    make_writable(folder)
    streams = score_streams(model, streams_of(cfg, model, folder), tuning.floor)
    curve = tuning.curve(list(progress(streams, doing="listening")), keywords)
    facts = {"split": cfg.split, "wanted_per_hour": cfg.false_alarms_per_hour}
    facts |= for_rate(curve, cfg.false_alarms_per_hour)
    facts["curve"] = [summary(each) for each in curve]
    detector = {**tuning.settings, "thresholds": facts["thresholds"]}
    info = replace(model.info, detector=detector, operating_points=facts)
    with replacing(model.model) as partial_file:
        partial_file.write_bytes(model.model.read_bytes())
        write_metadata(info, partial_file)
    card = write_streaming_card(model.model)
    picture = draw_detection(facts, model, folder / PICTURES)
    recording.log_to_run(folder, [model.model, card, picture], "model")
    if cfg.format == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        write_point(facts, sys.stdout)
        print(
            f"written into {display_name(model.model)}, {card.name} and {PICTURES}/{picture.name}"
        )
    write_json_file(cfg.json_file, facts)
    return float(facts["misses"]["miss_rate"])


@hiding_passwords
@hydra.main(config_path=CONFIG_DIR, config_name="tune", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
