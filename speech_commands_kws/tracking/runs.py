"""Folders of runs: `<runs>/<time>_<name>/` with config.yaml, checkpoints/, figures, logs and the exported model."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.files.atomic import written_to
from speech_commands_kws.tracking.old_names import renamed

LATEST = "latest"
CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
LOG_FILE = "log.txt"
HISTORY_FILE = "history.json"
MODEL_FILE = "model.onnx"
TIME_FORMAT = "%Y-%m-%d_%H-%M-%S"
READ_AGAIN = ("data", "loader")  # what tells the clips of a run
WARNINGS_LOGGER = "py.warnings"  # where `logging.captureWarnings` puts them
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def make_run_folder(runs: Path, name: str) -> Path:
    """A new folder `<runs>/<time>_<name>`; two runs of one second get different ones."""
    if "/" in str(name):
        raise SettingError(f"name must be a name for a folder, without /, got {name!r}")
    base = f"{datetime.now().strftime(TIME_FORMAT)}_{name}"
    attempt = 1
    while True:
        folder = runs / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            attempt += 1


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


def find_run(run: str | Path, runs: str | Path) -> Path:
    """Folder of a run: `latest` is the newest one below `runs` that has a checkpoint.

    Anything else is a path, or the name by which records know a run: `<time>_<name>`, `<sweep>/<number>`.
    """
    if str(run) != LATEST:
        for folder in (Path(str(run)).expanduser(), Path(runs, str(run))):
            if (folder / CONFIG_FILE).is_file():
                return folder
        raise KwsError(
            f"expected the folder of a run at run={run} or below {runs}, found no {CONFIG_FILE} there; "
            "give another path"
        )
    checkpoints = [
        path
        for path in Path(runs).rglob(f"{CHECKPOINTS}/*.ckpt")
        if (path.parent.parent / CONFIG_FILE).is_file()
    ]
    if not checkpoints:
        raise KwsError(
            f"expected a trained run below {runs}, found none; train first, or give run=FOLDER"
        )
    return max(checkpoints, key=lambda path: path.stat().st_mtime).parent.parent


def read_config(folder: Path) -> DictConfig:
    """The configuration that a run was trained with.

    Raises:
        KwsError: the file is damaged, or another one.
    """
    path = folder / CONFIG_FILE
    try:
        saved = OmegaConf.create(renamed(OmegaConf.to_container(OmegaConf.load(path))))
    except (YAMLError, OmegaConfBaseException, ValueError):
        saved = None
    if not OmegaConf.is_dict(saved) or not all(saved.get(key) for key in READ_AGAIN):
        raise KwsError(
            f"expected the configuration that a run was trained with, {path} is damaged or another one: "
            "bring it back from a copy, or train again"
        )
    return saved


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
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
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
