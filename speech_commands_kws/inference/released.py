"""The models that come with the package: a release brings them in its wheel, a checkout has none."""

import json
import warnings
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import DISTRIBUTION, KwsError

WEIGHTS = Path(__file__).parents[1] / "weights"
PROVENANCE = "provenance.json"
CALLER = 3  # of what calls: one line, and not of this file


def provenance() -> dict[str, Any]:
    """Where they come from and what was measured of them, as `kws bundle` wrote it; empty where none came along.

    Raises:
        KwsError: it is damaged.
    """
    path = WEIGHTS / PROVENANCE
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        raise KwsError(f"{path} is damaged: install {DISTRIBUTION} again") from None


def has_released(name: str) -> bool:
    """Whether a model file of this name came with the package."""
    return name in provenance().get("models", {})


def released_file(name: str) -> Path:
    """The model file of this name that came with the package.

    Raises:
        KwsError: none came along.
    """
    if not has_released(name):
        raise KwsError(
            f"no {name} came with this installation: name a model file; `make quickstart` trains one in a checkout, "
            "and `make release` builds a wheel that has one"
        )
    return WEIGHTS / name


def released_model(name: str) -> Path:
    """`released_file`, for a constructor, whose caller is warned of a model that is not for use."""
    path = released_file(name)
    if reason := provenance()["not_for_use"]:
        warnings.warn(
            f"the {name} of this installation is not for use: {reason}", stacklevel=CALLER
        )
    return path
