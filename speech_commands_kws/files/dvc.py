"""Files that DVC tracks by a pointer `<path>.dvc`, pulled when they are needed.

Through its Python API, one process at a time, and without a login that would hang. What is there needs no DVC: it is
imported inside functions.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_commands_kws.errors import KwsError, missing_package, summarize_error

if TYPE_CHECKING:
    from dvc.repo import Repo

GOOGLE_DRIVE = "gdrive://"
GOOGLE_KEY_VARIABLE = "GDRIVE_CREDENTIALS_DATA"
LOOK_SECONDS = 1.0
# Wait for another DVC command, such as a push of a data set.
WAIT_SECONDS = 1800.0

DVC_LOGGERS = ("dvc", "dvc_data", "dvc_objects")

LOG = logging.getLogger(__name__)


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


def pull(pointer: Path) -> None:
    """Pull what a `.dvc` file points at, unless another process has done so meanwhile.

    Raises:
        KwsError: DVC is not installed or not set up, or cannot bring it; the message says why.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        from speech_commands_kws.files.lock import locked
    except ModuleNotFoundError as error:
        raise KwsError(f"{pointer} needs DVC: {missing_package(error)}") from None
    keep_output_clean()
    target = pointer.absolute()
    try:
        root = Repo.find_root(str(target.parent))
        with locked(Path(root, ".dvc", "tmp", "kws.lock"), f"pulling {pointer}"):
            if target.with_suffix("").exists():
                return
            with Repo(root) as repo:
                refuse_login(repo, target)
                LOG.info("pulling %s", pointer)
                pull_when_free(repo, target)
    except DvcException as error:
        raise KwsError(f"DVC cannot pull {pointer}: {reason_of(error)}") from None


def keep_output_clean() -> None:
    """On import DVC begins to write its log to standard output, where answers go; our own lines say what matters."""
    for name in DVC_LOGGERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.ERROR)


def pull_when_free(repo: "Repo", target: Path) -> None:
    """Pull; while another command of DVC's works in the repository, wait."""
    from dvc.lock import LockError

    deadline, waited = time.monotonic() + WAIT_SECONDS, False
    while True:
        try:
            repo.pull(targets=[str(target)])
            return
        except LockError:
            if time.monotonic() > deadline:
                raise
        if not waited:
            LOG.warning("another DVC command is at work here: waiting for it")
            waited = True
        time.sleep(LOOK_SECONDS)


def refuse_login(repo: "Repo", target: Path) -> None:
    """Without a key DVC would open a login to Google Drive in a browser, and wait for it without end.

    Raises:
        KwsError: what is to be pulled lies on a Google Drive, and nothing says how to log in there.
    """
    for stage in repo.stage.collect(str(target)):
        if stage.is_partial_import:  # it comes from its own address
            continue
        for out in stage.outs:
            name = out.remote or repo.config["core"].get("remote")
            remote = repo.config["remote"].get(name, {})
            if remote.get("url", "").startswith(GOOGLE_DRIVE) and not has_google_key(remote):
                raise KwsError(
                    f"the DVC remote {name!r} is a Google Drive without a key: "
                    f"`dvc remote modify {name} gdrive_use_service_account true` and "
                    f"`dvc remote modify --local {name} gdrive_service_account_json_file_path KEY.json`"
                )


def has_google_key(remote: Mapping[str, Any]) -> bool:
    """Whether DVC can log in to a Google Drive by itself: by a service account, or by a login that was kept."""
    if os.environ.get(GOOGLE_KEY_VARIABLE):
        return True
    key = "service_account_json_file_path"
    if not remote.get("gdrive_use_service_account"):
        key = "user_credentials_file"
    file = remote.get(f"gdrive_{key}")
    return bool(file) and Path(file).is_file()


def reason_of(error: Exception) -> str:
    """What DVC says; where it says only that something is missing, how to learn more."""
    from dvc.exceptions import CheckoutError

    if isinstance(error, CheckoutError):
        return "neither a remote nor the address in it has it (`dvc pull -v` says more)"
    return summarize_error(error)
