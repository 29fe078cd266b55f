"""Every YAML file composes, resolves, and binds to the signature of what it builds."""

import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.cli.targets import TARGETS

CONFIGS = Path(CONFIG_DIR)
MISSING = "???"
INSTANTIATE_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
# What must be chosen for a group to be there.
PREREQUISITES = {
    "sweep/pruner": ["sweep=study"],
    "data/source/folder": ["data=folder"],
    "data/source": ["data=mixed"],
    "data/recordings": ["data=mixed"],
    "archives": ["data=speech_commands"],
}
# They are the settings of `train`, with a few more.
EXTENSIONS_OF_TRAIN = ("download", "pack")
# What a command hands over when it builds the node at this key; the YAML file leaves it out.
GIVEN_BY_COMMANDS = {
    "backbone": ("n_classes", "n_mels"),
    "augment.mixup": ("n_classes",),
    "streams": ("labels", "cache"),
    "auxiliary": ("labels", "cache"),
    "teacher": ("cache",),
}


def primary_names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def group_options() -> list[tuple[str, str]]:
    """Every file below a group: ("optimizer", "sgd"), ("hydra/callbacks", "multirun")."""
    files = sorted(path.relative_to(CONFIGS) for path in CONFIGS.glob("*/**/*.yaml"))
    return [(path.parent.as_posix(), path.stem) for path in files]


@pytest.fixture(autouse=True)
def hydra_at_the_configs() -> Iterator[None]:
    with initialize_config_dir(str(CONFIGS), job_name="test"):
        yield
    HydraConfig.instance().cfg = None


def composed(primary: str, *overrides: str) -> DictConfig:
    """The configuration as a command sees it, its documented gaps filled with a word."""
    cfg = compose(primary, list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = "plots/runs/test"
        cfg.hydra.job.num = 0
        cfg.hydra.job.id = "0"
    HydraConfig.instance().set_config(cfg)
    callbacks = cfg.hydra.callbacks
    with open_dict(cfg):
        del cfg["hydra"]
        cfg.hydra_callbacks = callbacks
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(
            cfg, key, ["given"] if key.endswith("words") or key == "keywords" else "given"
        )
    return cfg


def problems(node: Any, key: str = "") -> Iterator[str]:
    """What keeps the nodes of a resolved configuration from being built."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield from binding_problems(node, key)
        for name, value in node.items():
            yield from problems(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from problems(value, f"{key}[{i}]")


def binding_problems(node: dict[str, Any], key: str) -> Iterator[str]:
    target = node["_target_"]
    if target not in TARGETS:
        yield f"{key}: {target} is not in the list of targets"
        return
    given = {name: value for name, value in node.items() if name not in INSTANTIATE_KEYS}
    if not node.get("_partial_"):
        given |= dict.fromkeys(GIVEN_BY_COMMANDS.get(key, ()))
    try:
        signature = inspect.signature(get_object(target))
        bind = signature.bind_partial if node.get("_partial_") else signature.bind
        bind(*node.get("_args_", ()), **given)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        yield f"{key}: {target}: {error}"


def all_problems(cfg: DictConfig) -> list[str]:
    return list(problems(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)))


@pytest.mark.parametrize("primary", primary_names())
def test_primary_binds(primary: str) -> None:
    assert all_problems(composed(primary)) == []


@pytest.mark.parametrize(("group", "option"), group_options())
def test_group_option_binds_wherever_the_group_is_used(group: str, option: str) -> None:
    before = PREREQUISITES.get(f"{group}/{option}", PREREQUISITES.get(group, []))
    users = ["train"] if before else primary_names()
    users = [name for name in users if group in groups_of(name, *before)]
    users = [name for name in users if name not in EXTENSIONS_OF_TRAIN] or users
    assert users, f"no command uses configs/{group}"
    for primary in users:
        choices = [f"{place}={option}" for place in groups_of(primary, *before)[group]]
        assert all_problems(composed(primary, *before, *choices)) == [], primary


@functools.cache
def groups_of(primary: str, *overrides: str) -> dict[str, set[str]]:
    """The groups of a command, each with the places where it is used: `signal` at `signal@data.source`."""
    places: dict[str, set[str]] = {}
    cfg = compose(primary, list(overrides), return_hydra_config=True)
    for place in cfg.hydra.runtime.choices:
        places.setdefault(place.partition("@")[0], set()).add(place)
    return places


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_gap_is_documented(path: Path) -> None:
    """A `???`, which the user must fill, has a comment in its line or in the one above."""
    lines = ["", *path.read_text("utf-8").splitlines()]
    for i, line in enumerate(lines):
        if MISSING in line.partition("#")[0]:
            assert "#" in line or "#" in lines[i - 1], f"line {i}: {line}"


def test_all_jobs_of_a_multirun_share_its_folder() -> None:
    """A choice that differs between the jobs must not move them apart: the table would miss some."""
    folders = set()
    for data in ("synthetic", "speech_commands"):
        cfg = compose("train", [f"data={data}"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        folders.add(re.sub(r"\d", "0", cfg.hydra.sweep.dir))
    assert len(folders) == 1


# Values are written once

WRITTEN_ONCE = (
    "sample_rate",
    "clip_seconds",
    "tracking_uri",
    "local_store",
    "opset",
    "hop_seconds",
    "warm_up",
)
LONG_LIST = 5


def written_values(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """What is written at the keys of a YAML file: no nulls and no references, but to the environment with a default."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name != "defaults":
                yield from written_values(value, str(name))
    elif node is not None and not re.match(r"\$\{(?!oc\.env:)", str(node)):
        yield key, node


def repetitions(files: dict[str, str]) -> list[str]:
    """The values that stand in more than one place: long lists, and those of the keys of `WRITTEN_ONCE`."""
    places: dict[str, list[str]] = {}
    for name, text in files.items():
        for key, value in written_values(yaml.safe_load(text)):
            if isinstance(value, list) and len(value) >= LONG_LIST:
                places.setdefault(f"{sorted(map(str, value))}", []).append(name)
            elif key in WRITTEN_ONCE:
                places.setdefault(key, []).append(name)
    return [f"{value}: {', '.join(names)}" for value, names in places.items() if len(names) > 1]


def config_texts() -> dict[str, str]:
    return {
        path.relative_to(CONFIGS).as_posix(): path.read_text("utf-8")
        for path in sorted(CONFIGS.rglob("*.yaml"))
    }


def test_a_value_is_written_once() -> None:
    assert repetitions(config_texts()) == []


@pytest.mark.parametrize(
    "text",
    [
        "sample_rate: 16000",
        "server: { tracking_uri: http://127.0.0.1:8080 }",
        "sweep: { latency: { opset: 17 } }",
        "detection: { hop_seconds: 0.5 }",
        "words: ['go', 'stop', 'off', 'on', 'right', 'left', 'down', 'up', 'no', 'yes']",
    ],
)
def test_a_value_written_again_is_caught(text: str) -> None:
    (found,) = repetitions(config_texts() | {"another.yaml": text})
    assert "another.yaml" in found


# The test itself can fail


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["+optimizer.learning_rate=1"], "unexpected keyword argument 'learning_rate'"),
        (["~frontend.hop_ms"], "missing a required argument: 'hop_ms'"),
        (["optimizer._target_=torch.optim.SGDD"], "SGDD"),
        (["optimizer._target_=os.system"], "not in the list of targets"),
        (["+hydra.callbacks.multirun.metrics=1"], "unexpected keyword argument 'metrics'"),
        (["~trainer._target_", "+trainer.inner._target_=torch.optim.None_"], "trainer.inner"),
    ],
)
def test_a_bad_key_is_caught(overrides: list[str], problem: str) -> None:
    (found,) = all_problems(composed("train", *overrides))
    assert problem in found
