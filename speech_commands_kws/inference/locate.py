"""Which model file is meant: a path, the newest export, or an address of the registry."""

from collections.abc import Callable
from pathlib import Path

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.dvc import ensure_present
from speech_commands_kws.files.log_time import last_time
from speech_commands_kws.inference.released import has_released, released_file

MODEL_FILE = "model.onnx"
STREAMING_FILE = "model.streaming.onnx"
REGISTERED = "models:"  # what the addresses of MLflow's registry begin with


def streaming_file(model: Path) -> Path:
    """Where the form of an exported model lies that listens to a stream."""
    return model.with_suffix(f".streaming{model.suffix}")


def newest_export(runs: str | Path, name: str = MODEL_FILE) -> Path:
    """The file of this name exported last by any run below the folder `runs`, the jobs of a sweep too.

    Raises:
        KwsError: no run has an export.
    """
    exports = exports_of(runs, name)
    if not exports:
        training = "kws train" + " backbone=bc_resnet_streaming" * (name == STREAMING_FILE)
        raise KwsError(
            f"no exported {name} under {runs}: train and export first (`{training}`, `kws export`), "
            "or give model=PATH"
        )
    return max(exports, key=lambda path: (exported_at(path), str(path)))


def exports_of(runs: str | Path, name: str) -> list[Path]:
    return [path for path in Path(runs).rglob(name) if path.is_file()]


def exported_at(model: Path) -> float:
    """When a model was exported: the last time in the log of that, which a copy keeps, or else that of the file."""
    logged = last_time(model.with_name(f"{model.name.partition('.')[0]}.log"))
    return model.stat().st_mtime if logged is None else logged


def locate_model(
    model: str | Path | None,
    runs: str | Path,
    fetch: Callable[[str], Path] | None = None,
    name: str = MODEL_FILE,
    released: bool = False,
) -> Path:
    """The model file asked for, or the newest export of this name where none is.

    Args:
        fetch: brings the file of an address such as `models:/<name>@<alias>`.
        released: where nothing was exported, the model that came with the package will do.

    Raises:
        KwsError: it does not exist, or is no file.
    """
    if model is None:
        if released and has_released(name) and not exports_of(runs, name):
            return released_file(name)
        return newest_export(runs, name)
    if fetch is not None and str(model).startswith(REGISTERED):
        return fetch(str(model))
    path = ensure_present(Path(str(model)).expanduser())
    if not path.is_file():
        raise KwsError(
            f"{path} is not a file: model= takes an exported model such as {path / name}"
        )
    return path
