"""Files that the repository only points at: DVC keeps what a `<path>.dvc` lies beside, and it is pulled when needed."""

from pathlib import Path

from speech_commands_kws.errors import KwsError


def ensure_present(path: str | Path) -> Path:
    """The path; what is missing there and tracked by DVC is pulled.

    Raises:
        KwsError: nothing is there, and DVC does not track it or cannot bring it.
    """
    path = Path(path)
    if path.exists():
        return path
    pointer = dvc_pointer(path)
    if pointer is None:
        raise KwsError(f"{path} does not exist: check the name")
    # Here and not above: what is there already needs no DVC.
    from speech_commands_kws.files.dvc import pull

    pull(pointer)
    if not path.exists():
        raise KwsError(f"{path} does not exist, and {pointer} does not hold it: check the name")
    return path


def dvc_pointer(path: Path) -> Path | None:
    """The `.dvc` file that tracks a path or a folder around it."""
    for tracked in (path, *path.parents):
        pointer = Path(f"{tracked}.dvc")
        if pointer.is_file():
            return pointer
    return None
