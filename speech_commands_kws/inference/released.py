"""The models that come with the package: a release brings them in its wheel, a checkout has none."""

import json
import warnings
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import KwsError

WEIGHTS = Path(__file__).parents[1] / "weights"
PROVENANCE = "provenance.json"


def provenance() -> dict[str, Any]:
    """Where they come from and what was measured of them, as `kws bundle` wrote it; empty where none came along."""
    path = WEIGHTS / PROVENANCE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def has_released(name: str) -> bool:
    """Whether a model file of this name came with the package."""
    return name in provenance().get("models", {})


def released_model(name: str) -> Path:
    """The model file of this name that came with the package.

    A model that was made to test the installation is warned of.

    Raises:
        KwsError: none came along.
    """
    facts = provenance()
    if name not in facts.get("models", {}):
        raise KwsError(
            f"no {name} came with this installation: name a model file; `make quickstart` trains one in a checkout, "
            "and `make release` builds a wheel that has one"
        )
    if facts["not_for_use"]:
        reason = facts["not_for_use"]
        warnings.warn(f"the {name} of this installation is not for use: {reason}")
    return WEIGHTS / name
