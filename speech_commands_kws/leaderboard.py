"""Compare the runs of an experiment: `kws leaderboard "optimizer.lr > 0.01" top=10 picture=runs.png`."""

import json
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import csv_cell
from speech_commands_kws.errors import (
    check_choice,
    check_picture,
    check_texts,
    check_whole,
    display_name,
)
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.tracking import experiments, tables
from speech_commands_kws.tracking.mlflow_store import readable_uri

FORMATS = ("table", "json", "csv")


def run(cfg: DictConfig) -> float:
    """Write the runs to standard output, the best first; return how many there are."""
    columns, ignored = map(OmegaConf.to_object(cfg).get, ("columns", "ignored"))
    check_choice(FORMATS, format=cfg.format)
    check_picture(cfg.picture)
    if cfg.top is not None:
        check_whole(top=cfg.top)
    if columns:
        check_texts(columns=columns)
    uri = readable_uri(cfg.tracking_uri, cfg.local_store, cfg.probe_seconds)
    known = experiments.read_runs(uri, cfg.experiment_name)
    ranked = experiments.rank(known, cfg.metric, cfg.descending)
    if cfg.where is not None:
        ranked = experiments.select(ranked, str(cfg.where))
    columns = experiments.varied_settings(ranked, ignored) if columns is None else columns
    experiments.require(known, columns, "columns")
    n_sets = experiments.keyword_sets(ranked)
    ranked = experiments.summarize(ranked, cfg.metric, columns)
    shown = ranked[: cfg.top]
    if cfg.format == "table":
        title = (
            f"{len(shown)} of {len(known)} runs of {cfg.experiment_name} by {cfg.metric}, in {uri}"
        )
        tables.write_runs(title, shown, sys.stdout)
    elif cfg.format == "json":
        sys.stdout.write(json.dumps(shown.to_dict("records"), indent=2) + "\n")
    else:
        shown.map(csv_cell).to_csv(sys.stdout, index=False)
    if n_sets > 1:
        print(
            f"these runs have learnt {n_sets} different lists of keywords, so their figures do not compare: choose "
            "with a condition, such as 'choices.data = synthetic'",
            file=sys.stderr,
        )
    if cfg.picture is not None:
        # Here and not above: a table needs no matplotlib.
        from speech_commands_kws.figures.experiments import plot_runs

        about = f"all {len(ranked)} runs of {cfg.experiment_name}"
        about += "" if cfg.where is None else f" with {cfg.where}"
        path = Path(str(cfg.picture)).expanduser()
        with written_to(path):
            plot_runs(ranked, cfg.metric, cfg.descending, about, path)
        print(f"picture: {display_name(path)}", file=sys.stderr)
    return float(len(shown))


@hiding_passwords
@hydra.main(
    config_path=CONFIG_DIR, config_name="leaderboard", execution_whitelist=EXECUTION_WHITELIST
)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
