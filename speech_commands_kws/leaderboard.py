"""Compare the runs of an experiment: `kws leaderboard "optimizer.lr > 0.01" top=10 picture=runs.png`."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, run_command
from speech_commands_kws.errors import KwsError, check_picture, display_name
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.sweeps.comparison import short_names
from speech_commands_kws.tracking import experiments
from speech_commands_kws.tracking.experiments import Standing
from speech_commands_kws.tracking.mlflow_store import readable_uri

FORMATS = ("table", "json", "csv")
SHORT = 8  # characters of a fingerprint or a commit
COUNTS = ("multiply_adds", "parameters")
LATENCY = "onnx_latency_ms"
SHORT_CELL = 12
FINISHED = "FINISHED"
DIRTY_MARK = "*"


def run(cfg: DictConfig) -> float:
    """Write the runs to standard output, the best first; return how many there are."""
    check_settings(cfg)
    uri = readable_uri(cfg.tracking_uri, cfg.local_store, cfg.probe_seconds)
    known = experiments.read_standings(uri, cfg.experiment_name)
    experiments.require_metric(known, cfg.metric)
    kept = filtered(known, cfg.where)
    ranked = experiments.rank(kept, cfg.metric, cfg.descending)
    columns = OmegaConf.to_object(cfg.columns) if cfg.columns is not None else None
    if columns is None:
        columns = experiments.varied_settings(ranked, cfg.ignored)
    experiments.require(known, columns, "columns")
    shown = ranked[: cfg.top]
    title = f"{len(shown)} of {len(known)} runs of {cfg.experiment_name} by {cfg.metric}, in {uri}"
    rows = [row(place, standing, cfg.metric, columns) for place, standing in enumerate(shown, 1)]
    if cfg.format == "table":
        omitted = columns[cfg.widest :] if cfg.columns is None else []
        show_table(title, rows, cfg.metric, omitted, cfg.file_width)
    else:
        write_data(rows, cfg.format)
    if cfg.picture is not None:
        about = f"all {len(ranked)} runs of {cfg.experiment_name}"
        draw(ranked, f"{about} with {cfg.where}" if cfg.where else about, cfg)
    return float(len(shown))


def check_settings(cfg: DictConfig) -> None:
    check_picture(cfg.picture)
    if cfg.format not in FORMATS:
        raise KwsError(f"format must be one of {', '.join(FORMATS)}, got {cfg.format}")
    if cfg.top is not None and (not isinstance(cfg.top, int) or cfg.top < 1):
        raise KwsError(f"top must be a whole number of 1 or more, or null, got {cfg.top!r}")
    if cfg.columns is not None and not OmegaConf.is_list(cfg.columns):
        raise KwsError(f"columns must be a list such as [optimizer.lr], got {cfg.columns!r}")


def filtered(known: list[Standing], where: str | None) -> list[Standing]:
    """The runs that meet all conditions; raises KwsError where a name is unknown, or none does."""
    conditions = experiments.parse_conditions(str(where)) if where is not None else []
    experiments.require(known, [condition.name for condition in conditions], "where")
    kept = [each for each in known if all(condition.holds(each) for condition in conditions)]
    if not kept:
        raise KwsError(f"none of the {len(known)} runs meets where={where!r}: ask for less")
    return kept


def row(place: int, standing: Standing, metric: str, columns: list[str]) -> dict[str, Any]:
    """The facts about a run, in the order in which they are shown."""
    return {
        "place": place,
        "run": standing.run,
        metric: standing.number(metric),
        **{name: standing.value(name) for name in columns if name not in ("run", metric)},
        **{name: _whole(standing.number(name)) for name in COUNTS},
        LATENCY: standing.number(LATENCY),
        "data": standing.tags.get("data"),
        "data_fingerprint": standing.tags.get("data_fingerprint"),
        "commit": standing.commit,
        "dirty": standing.dirty,
        "sweep": standing.sweep,
        "status": standing.status,
        "started": standing.started,
        "run_id": standing.run_id,
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def write_data(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def show_table(
    title: str, rows: list[dict[str, Any]], metric: str, omitted: list[str], file_width: int
) -> None:
    """For reading: short identifiers, and no column in which nothing stands."""
    shown = [readable(facts, metric, omitted) for facts in rows]
    table = Table(box=SIMPLE, pad_edge=False)
    names = [name for name in shown[0] if any(facts[name] for facts in shown)]
    for name, head in zip(names, short_names(names)):
        # In one piece: what is short, and the name that `run=` takes.
        whole = name == "run" or max(len(facts[name]) for facts in shown) <= SHORT_CELL
        head = display_name(head).replace("_", "\n")
        table.add_column(head, overflow="fold", no_wrap=whole)
    for facts in shown:
        table.add_row(*(display_name(facts[name]) for name in names))
    width = None if sys.stdout.isatty() else file_width
    console = Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)
    # Rather than cut words off it is wider than a narrow terminal.
    least = console.measure(table, options=console.options.update(max_width=file_width)).minimum
    console.width = max(console.width, least)
    console.print(display_name(title), soft_wrap=True)
    console.print(table)
    if omitted:
        names = ", ".join(omitted)
        console.print(f"The runs also differ in {names}: columns=[...] shows them", soft_wrap=True)


def readable(facts: dict[str, Any], metric: str, omitted: list[str]) -> dict[str, str]:
    """A row as text, blank where there is nothing to say."""
    fingerprint, commit = ((facts[key] or "")[:SHORT] for key in ("data_fingerprint", "commit"))
    data = " ".join(filter(None, (facts["data"], fingerprint)))
    latency = facts[LATENCY]
    texts = {
        metric: "" if facts[metric] is None else f"{facts[metric]:.4g}",
        **{name: "" if facts[name] is None else f"{facts[name]:,}" for name in COUNTS},
        LATENCY: "" if latency is None else f"{latency:.2f}",
        "data": data,
        "commit": commit + DIRTY_MARK * (bool(commit) and facts["dirty"]),
        "status": "" if facts["status"] == FINISHED else facts["status"],
        # A trial is named <sweep>/<number>.
        "sweep": "" if facts["run"].startswith(f"{facts['sweep']}/") else facts["sweep"] or "",
    }
    hidden = {"data_fingerprint", "dirty", "started", "run_id", *omitted}
    return {
        name: texts[name] if name in texts else rounded(value)
        for name, value in facts.items()
        if name not in hidden
    }


def rounded(value: Any) -> str:
    """Numbers with a fraction, which settings have as text, to four digits; anything else as it is."""
    number = experiments.as_number(value)
    is_fraction = number is not None and not number.is_integer()
    return f"{number:.4g}" if is_fraction else "" if value is None else str(value)


def draw(ranked: list[Standing], about: str, cfg: DictConfig) -> None:
    # Here and not above: a table needs no matplotlib.
    from speech_commands_kws.figures.experiments import plot_standings

    path = Path(str(cfg.picture)).expanduser()
    with written_to(path):
        plot_standings(ranked, cfg.metric, cfg.descending, about, path)
    print(f"picture: {display_name(path)}", file=sys.stderr)


@hydra.main(
    config_path=CONFIG_DIR, config_name="leaderboard", execution_whitelist=EXECUTION_WHITELIST
)
def main(cfg: DictConfig) -> float | None:
    sys.stdout.reconfigure(errors="backslashreplace")
    return run_command(run, cfg)


if __name__ == "__main__":
    main()
