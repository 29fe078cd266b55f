"""Files that the repository only points at: DVC keeps what a `<path>.dvc` lies beside."""

from pathlib import Path

from speech_commands_kws.errors import KwsError


def ensure_present(path: str | Path) -> Path:
    """The path, if something is there.

    Raises:
        KwsError: nothing is there; where DVC tracks the path, the message says how to get it.
    """
    path = Path(path)
    if path.exists():
        return path
    pointer = dvc_pointer(path)
    if pointer is not None:
        raise KwsError(
            f"{path} is tracked by DVC and not here yet: "
            f'get it with `dvc pull "{pointer}"` (pip install "speech-commands-kws[data]")'
        )
    raise KwsError(f"{path} does not exist: check the name")


def dvc_pointer(path: Path) -> Path | None:
    """The `.dvc` file that tracks a path or a folder around it."""
    for tracked in (path, *path.parents):
        pointer = Path(f"{tracked}.dvc")
        if pointer.is_file():
            return pointer
    return None
