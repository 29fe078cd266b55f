"""Folders of runs: `<runs>/<time>_<name>/` with config.yaml, checkpoints/, figures, logs and the exported model."""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from speech_commands_kws.cli.terminal import MaskedFormatter, say
from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.files.log_time import last_time
from speech_commands_kws.inference.locate import exported_at
from speech_commands_kws.tracking.old_names import renamed
from speech_commands_kws.training.objectives import ACCURACY, MAXIMIZE, best_first

LATEST = "latest"
CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
LOG_FILE = "log.txt"
HISTORY_FILE = "history.json"
MODEL_FILE = "model.onnx"
# What the folder of a run may hold before anything was trained.
WITHOUT_WORTH = {CONFIG_FILE, LOG_FILE, CHECKPOINTS, "plots"}
TIME_FORMAT = "%Y-%m-%d_%H-%M-%S"
READ_AGAIN = ("data", "loader")  # what tells the clips of a run
SHOWN_TIME = "%Y-%m-%d %H:%M"
WARNINGS_LOGGER = "py.warnings"  # where `logging.captureWarnings` puts them
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def make_run_folder(runs: Path, name: str) -> Path:
    """A new folder `<runs>/<time>_<name>`; two runs of one second get different ones."""
    check_name(name)
    base = f"{datetime.now().strftime(TIME_FORMAT)}_{name}"
    attempt = 1
    while True:
        folder = runs / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            attempt += 1


def check_name(name: object) -> None:
    """Raises SettingError where this is no name for a folder."""
    if "/" in str(name):
        raise SettingError(f"name must be a name for a folder, without /, got {name!r}")


def claim_folder(folder: Path) -> Path:
    """Make the folder of a run by the name that it is given.

    Raises:
        KwsError: something is there.
    """
    with written_to(f"folder={folder}"):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise KwsError(
                f"folder={folder} is there already: choose another one, remove it, "
                f"or go on with resume=true run={folder}"
            ) from None
    return folder


def remove_unused(folder: Path) -> None:
    """Remove the folder of a run that ended before anything was trained or recorded."""
    checkpoints = any(folder.glob(f"{CHECKPOINTS}/*"))
    if not checkpoints and {path.name for path in folder.iterdir()} <= WITHOUT_WORTH:
        shutil.rmtree(folder)


def find_run(run: str | Path, runs: str | Path) -> Path:
    """Folder of a run: `latest` is the newest one below `runs` that has a checkpoint.

    Anything else is a path, or the name by which records know a run: `<time>_<name>`, `<number>_<sweep>`. Of a sweep it
    is the trial with the best validation accuracy.
    """
    if str(run) != LATEST:
        number, _, sweep = str(run).partition("_")
        for folder in (
            Path(str(run)).expanduser(),
            Path(runs, str(run)),
            Path(runs, sweep, number),
        ):
            if (folder / CONFIG_FILE).is_file():
                return folder
            if trials := trained_runs(folder, "*"):
                return best_trial(trials)
        raise KwsError(
            f"expected the folder of a run at run={run} or below {runs}, found no {CONFIG_FILE} there; "
            "give another path"
        )
    found = trained_runs(runs, "**")
    if not found:
        raise KwsError(
            f"expected a trained run below {runs}, found none; train first, or give run=FOLDER"
        )
    newest = max(found, key=changed)
    is_trial = newest.name.isdigit() and newest.parent != Path(runs)
    return best_trial(trained_runs(newest.parent, "*")) if is_trial else newest


def choose_run(run: str | Path, runs: str | Path) -> Path:
    """`find_run`; where it had a choice, a line on standard error says what it chose."""
    folder = find_run(run, runs)
    if folder.name != Path(str(run)).name:
        say(f"run: {summary(folder)}")
    return folder


def say_export(model: Path, runs: str | Path) -> None:
    """A line on standard error: which export was chosen, of when and how good, and which run is newer."""
    exported = exported_at(model)
    accuracy = best_accuracy(model.parent)
    line = f"model: {here(model)}, exported {shown_time(exported)}"
    line += f", best validation accuracy {accuracy:.1%}" if accuracy else ""
    with suppress(KwsError):  # no run below the folder has a checkpoint any more
        newest = find_run(LATEST, runs)
        if newest.resolve() != model.parent.resolve() and changed(newest) > exported:
            line += newer(newest, model.parent)
    say(line)


def newer(newest: Path, exported: Path) -> str:
    """What to say about a run that was trained after the export of another: nothing where it became no better."""
    if read_config(newest).data != read_config(exported).data:
        about = "trained on other data and not exported"
    elif best_accuracy(newest) > best_accuracy(exported):
        about = "better, but not exported"
    else:
        return ""
    return f"; newer, {about}: {summary(newest)} (`kws export` exports it)"


def summary(folder: Path) -> str:
    """A run, when it was trained and how good it became, in one line."""
    accuracy = best_accuracy(folder)
    how_good = f"best validation accuracy {accuracy:.1%}" if accuracy else "not finished"
    return f"{here(folder)}, trained until {shown_time(changed(folder))}, {how_good}"


def here(path: Path) -> Path:
    """A path as one would type it in the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def shown_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime(SHOWN_TIME)


def find_run_to_resume(run: str | Path, runs: str | Path) -> Path:
    """As `find_run`, but `latest` is the run that was begun last, trial of a sweep or not.

    Raises:
        KwsError: it has no checkpoint to resume from, or there is no run.
    """
    begun = [path.parent for path in Path(runs).rglob(CONFIG_FILE)] if str(run) == LATEST else []
    folder = max(begun, key=changed) if begun else find_run(run, runs)
    if not (folder / CHECKPOINTS / LAST).is_file():
        raise KwsError(
            f"the run {folder} ended before its first checkpoint, so there is nothing to resume: train again without "
            "resume, or name another run with run="
        )
    return folder


def trained_runs(folder: str | Path, depth: str) -> list[Path]:
    """The runs below a folder that have a checkpoint; `depth` is `*` for those directly below, `**` for all."""
    configs = Path(folder).glob(f"{depth}/{CONFIG_FILE}")
    return [path.parent for path in configs if any(path.parent.glob(f"{CHECKPOINTS}/*.ckpt"))]


def changed(folder: Path) -> float:
    """When a run was last trained: the last time in its log, which a copy keeps, or else that of its files."""
    logged = last_time(folder / LOG_FILE)
    if logged is not None:
        return logged
    files = (folder / CONFIG_FILE, *folder.glob(f"{CHECKPOINTS}/*.ckpt"))
    return max(path.stat().st_mtime for path in files)


def best_trial(trials: list[Path]) -> Path:
    """The first in the table of a sweep: that with the best validation accuracy; one that was cut short has none."""
    numbered = sorted(trials, key=by_number)
    accuracies = [best_accuracy(folder) or None for folder in numbered]
    return numbered[best_first(accuracies, MAXIMIZE)[0]]


def by_number(folder: Path) -> tuple[int, str]:
    """To sort the folders of the trials of a sweep."""
    return len(folder.name), folder.name


def best_accuracy(folder: Path) -> float:
    """The best validation accuracy of a run, 0 for one that was cut short."""
    history = folder / HISTORY_FILE
    rows = json.loads(history.read_text()) if history.is_file() else []
    return max((row.get(ACCURACY, 0.0) for row in rows), default=0.0)


def read_config(folder: Path) -> DictConfig:
    """The configuration that a run was trained with; what lay below its project's folder lies where that is today.

    Raises:
        KwsError: the file is damaged, or another one.
    """
    path = folder / CONFIG_FILE
    try:
        loaded = renamed(OmegaConf.to_container(OmegaConf.load(path)))
        saved = OmegaConf.create(moved(loaded, folder.absolute()))
    except (YAMLError, OmegaConfBaseException, ValueError):
        saved = None
    if not OmegaConf.is_dict(saved) or not all(saved.get(key) for key in READ_AGAIN):
        raise KwsError(
            f"expected the configuration that a run was trained with, {path} is damaged or another one: "
            "bring it back from a copy, or train again"
        )
    return saved


def moved(saved: Any, folder: Path) -> Any:
    """A saved configuration, with the project's folder as it is called now that the run lies in `folder`."""
    paths = saved.get("paths") if isinstance(saved, dict) else None
    if not isinstance(paths, dict) or not {"root", "runs"} <= paths.keys():
        return saved
    before = Path(str(paths["root"]))
    now = project_folder(before, Path(str(paths["runs"])), folder)
    # Also in an address such as sqlite:////old/plots/studies.db.
    below = re.compile(rf"(^|:///){re.escape(str(before))}(?=/|$)")

    def rename(node: Any) -> Any:
        match node:
            case dict():
                return {key: rename(value) for key, value in node.items()}
            case list():
                return [rename(value) for value in node]
            case str():
                return below.sub(lambda match: f"{match[1]}{now}", node)
        return node

    return saved if now == before else rename(saved)


def project_folder(root: Path, runs: Path, folder: Path) -> Path:
    """What `root` is called today, as the place of the run tells; of a run that was taken out of it, the current folder
    where `root` is gone."""
    inside = runs.relative_to(root).parts if runs.is_relative_to(root) else ()
    for parent in folder.parents[:2]:  # of a run, and of a trial of a sweep
        if inside and parent.parts[-len(inside) :] == inside:
            return Path(*parent.parts[: -len(inside)])
    return root if root.is_dir() else Path.cwd()


def checkpoint_of(folder: Path, *names: str) -> Path:
    """The first checkpoint of a run that exists among `names`."""
    for name in names:
        if (folder / CHECKPOINTS / name).is_file():
            return folder / CHECKPOINTS / name
    raise KwsError(
        f"expected {' or '.join(names)} in {folder / CHECKPOINTS}, found none; train the run first"
    )


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write the log into a file too; the warnings of libraries go there alone."""
    with written_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path)
    handler.setFormatter(MaskedFormatter(LOG_FORMAT))
    root, library_warnings = logging.getLogger(), logging.getLogger(WARNINGS_LOGGER)
    root.addHandler(handler)
    library_warnings.addHandler(handler)
    library_warnings.propagate = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        library_warnings.propagate = True
        library_warnings.removeHandler(handler)
        root.removeHandler(handler)
        handler.close()
