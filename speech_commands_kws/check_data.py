"""Check a data set: `kws check-data data=folder data.root=recordings picture=check.png`. Nothing is changed."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from speech_commands_kws.assembly.engine import find_model
from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.data.packed import pack_folder
from speech_commands_kws.data.quality import inspect
from speech_commands_kws.data.quality_report import write_csv, write_json, write_table
from speech_commands_kws.errors import (
    KwsError,
    check_choice,
    check_picture,
    check_whole,
    display_name,
)
from speech_commands_kws.inference.spotter import KeywordSpotter

FORMATS = ("table", "json", "csv")


def run(cfg: DictConfig) -> float:
    """Write the report to standard output; return the number of findings."""
    check_choice(FORMATS, format=cfg.format)
    check_whole(batch_size=cfg.batch_size)
    check_picture(cfg.picture)
    clip_samples = round(cfg.clip_seconds * cfg.sample_rate)
    spotter = open_model(cfg, clip_samples) if cfg.model is not None else None
    limits = build(cfg.limits)
    tree = build(cfg.data.source).prepare()
    packed = pack_folder(tree.root, tree.pattern, Path(cfg.cache), cfg.sample_rate, clip_samples)
    report = inspect(tree, packed, limits, cfg.sample_rate, cfg.batch_size, spotter)
    title = f"{cfg.data.name}: {cfg.data.description}"
    if cfg.format == "table":
        write_table(title, tree.root, report, cfg.examples, sys.stdout)
    elif cfg.format == "csv":
        write_csv(report, sys.stdout)
    else:
        write_json(title, tree.root, packed.fingerprint, report, sys.stdout)
    if cfg.picture is not None:
        # Here and not above: a table needs no matplotlib.
        from speech_commands_kws.figures.dataset import plot_report

        path = Path(str(cfg.picture)).expanduser()
        plot_report(report, limits.silent_db, title, path)
        print(f"picture: {display_name(path)}", file=sys.stderr)
    return float(len(report.findings))


def open_model(cfg: DictConfig, clip_samples: int) -> KeywordSpotter:
    """Raises KwsError where the model takes other clips than the ones that are looked at."""
    model = find_model(cfg)
    spotter = KeywordSpotter(model, backend=build(cfg.backend))
    if (spotter.sample_rate, spotter.clip_samples) != (cfg.sample_rate, clip_samples):
        raise KwsError(
            f"{model} takes {spotter.clip_samples / spotter.sample_rate:g} s at {spotter.sample_rate} Hz: "
            "set clip_seconds and sample_rate to that"
        )
    return spotter


@hiding_passwords
@hydra.main(
    config_path=CONFIG_DIR, config_name="check_data", execution_whitelist=EXECUTION_WHITELIST
)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
