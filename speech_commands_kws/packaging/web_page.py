"""A site of static files: the page that listens in a browser, and the models that it opens."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.atomic import write_whole
from speech_commands_kws.inference.backends.onnx import OnnxBackend

PAGE = Path(__file__).parents[1] / "page"
INDEX, MODELS, LIST = "index.html", "models", "models.json"
CARD_SUFFIX = ".md"


def check_page() -> None:
    """Raises KwsError where the page is not there: a checkout holds its sources alone."""
    if not (PAGE / INDEX).is_file():
        raise KwsError(
            f"the page is not built in {PAGE.parent}: `make web` builds it, which needs node and npm"
        )


def check_site(folder: Path) -> None:
    """Raises KwsError where a site cannot be written without mixing it with other files."""
    check_page()
    if (
        folder.is_file()
        or folder.is_dir()
        and any(folder.iterdir())
        and not (folder / LIST).is_file()
    ):
        raise KwsError(
            f"web={folder} must be a folder that is new, empty, or holds a site of before: name another one"
        )


def write_site(folder: Path, models: Sequence[Path]) -> None:
    """Copy the page into a folder, with models and their cards; the page opens the first one.

    Raises:
        KwsError: a file is no model that the page could open, or the folder holds something else.
    """
    check_site(folder)
    names = [name_of(model) for model in models]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PAGE, folder)
    (folder / MODELS).mkdir()
    listed = []
    for model, name in zip(models, names):
        card = model.with_suffix(CARD_SUFFIX)
        entry = {"file": f"{MODELS}/{model.name}", "name": name, "card": None}
        shutil.copyfile(model, folder / entry["file"])
        if card.is_file():
            entry["card"] = f"{MODELS}/{card.name}"
            shutil.copyfile(card, folder / entry["card"])
        listed.append(entry)
    write_whole(folder / LIST, json.dumps({"models": listed}, indent=2))


def name_of(model: Path) -> str:
    """What the page calls a model: its file, and the run that it was exported from where it knows one."""
    run = OnnxBackend(model).info.training.get("run")
    return f"{run}: {model.stem}" if run else model.stem
