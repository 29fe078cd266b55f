"""What the folder of a run tells about a model that others shall use."""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.packaging.bundle import Bundled, Material
from speech_commands_kws.tracking import runs

# Of a saved configuration: what makes the recipe, but for what the metadata of the file have.
RECIPE = ("task", "augment", "mixup", "teacher", "streams", "auxiliary", "optimizer", "scheduler")
SPEECH_EMBEDDING = ("SpeechEmbedding", "SpeechEmbeddingNet")
VERSION = re.compile(r"-|_v\d")  # what ends the name of a folder's material
TALK, SYNTHETIC = "talk", "synthetic"
TEST = "test"


def bundled(folder: Path, name: str, evaluation: str, licences: Mapping[str, str]) -> Bundled:
    """The model of this name in the folder of a run.

    Raises:
        KwsError: it is not there, its evaluation is of another file or sound, or a run that it goes back to is gone.
    """
    path = folder / name
    if not path.is_file():
        raise KwsError(f"expected {path}, found none: `kws export run={folder}` writes it")
    config = OmegaConf.to_container(runs.read_config(folder), resolve=True)
    info = OnnxBackend(path).info
    materials = {}
    for parts in materials_of(config):
        # talk-4ebbfca7 is talk, and speech_commands_v0.02 speech_commands.
        names = (VERSION.split(part)[0] for part in reversed(parts))
        material = next((name for name in names if name in licences), parts[-1])
        own = info.training["data_fingerprint"] if parts == (config["data"]["name"],) else None
        materials.setdefault(material, Material(material, licences.get(material), own))
    materials = list(materials.values())
    return Bundled(
        path, info, materials, recipe_of(config), read_evaluation(folder / evaluation, path)
    )


def read_evaluation(path: Path, model: Path) -> dict[str, Any] | None:
    """What `kws evaluate json_file=` wrote; nothing where it did not.

    Raises:
        KwsError: it is damaged, or not of this very file on the test split.
    """
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise KwsError(f"{path} is damaged: evaluate {model.name} again") from None
    if facts.get("model_sha256") != sha256(model.read_bytes()).hexdigest():
        raise KwsError(f"{path} is of another file than {model.name} is now: evaluate it again")
    split, folder = facts["split"], facts.get("input")
    if split != TEST or folder:
        other = f"the {split} split" if split and not folder else "a folder"
        raise KwsError(f"{path} tells of {other}: evaluate {model.name} again with split={TEST}")
    return facts


def materials_of(config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What a run has learnt from, with its parents and teacher: names, of folders the parts of the path.

    Raises:
        KwsError: the folder of a parent or of the teacher is gone.
    """
    yield (config["data"]["name"],)
    auxiliary, streams, teacher = (
        config.get(key) or {} for key in ("auxiliary", "streams", "teacher")
    )
    folders = [auxiliary.get("root"), (config.get("augment") or {}).get("noise_folder")]
    folders += [*listed(streams.get("negatives")), *listed(streams.get("mined"))]
    yield from (Path(folder).parts for folder in folders if folder)
    if streams and not streams.get("negatives") and config["data"]["name"] == SYNTHETIC:
        yield (TALK,)
    for node in (config["backbone"], teacher):
        name = str(node.get("_target_")).rpartition(".")[2]
        if name in SPEECH_EMBEDDING:
            yield (name,)
    for parent in filter(None, (config.get("init"), teacher.get("run"))):
        place = Path(parent)
        folder = place.parent.parent if place.suffix == ".ckpt" else place
        if not (folder / runs.CONFIG_FILE).is_file():
            raise KwsError(
                f"expected the run {folder}, with which the training began or which taught it, found none: what it has "
                "learnt from has to be told too, so bring it back there"
            )
        yield from materials_of(OmegaConf.to_container(runs.read_config(folder), resolve=True))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a training, without the places of this machine."""
    found = {name: config[name] for name in RECIPE if config.get(name)}
    found["loader"] = {"batch_size": config["loader"]["batch_size"]}
    found["trainer"] = {"max_epochs": config["trainer"]["max_epochs"]}
    return without_places(found)


def without_places(node: Any) -> Any:
    match node:
        case dict():
            return {key: without_places(value) for key, value in node.items()}
        case list():
            return [without_places(value) for value in node]
        case str() if "/" in node:
            return Path(node).name
    return node
