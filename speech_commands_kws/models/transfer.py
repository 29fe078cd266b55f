"""What a network takes over from one that is trained, and what of it is frozen."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from speech_commands_kws.errors import SettingError, check_whole

# On these settings of a backbone its weights do not depend.
FREE_SETTINGS = ("n_classes", "dropout", "mean_frames", "fast_training")
ALL_BUT_CLASSIFIER = "backbone"
OF_CLASS = ("name", "_target_", "_convert_")


def class_name(settings: Mapping[str, Any]) -> str:
    """The class that a checkpoint or a configuration makes with these settings."""
    return settings.get("name", settings.get("_target_", "")).rpartition(".")[2]


def other_settings(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trained front-end or backbone that the wanted one has not, where weights depend on them.

    Args:
        wanted: of a configuration, where a backbone does not name the mel bins, which the front-end has.
        trained: of a checkpoint. What one of the two does not name is off.
    """
    named = wanted.keys() | trained.keys() - {"n_mels"}
    names = sorted(named - {*OF_CLASS, *FREE_SETTINGS})
    found = {name: trained.get(name, False) for name in names}
    return {name: value for name, value in found.items() if value != wanted.get(name, False)}


@torch.no_grad()
def take_over(
    backbone: nn.Module, labels: Sequence[str], trained: nn.Module, trained_labels: Sequence[str]
) -> list[str]:
    """Copy the weights of a backbone with the same settings; rows of the classifier for new labels stay as they are.

    Args:
        backbone: changed in place; the last layer of its `head` is the classifier, with a row for each of `labels`.

    Returns:
        The labels that both have, whose rows are taken.
    """
    kept = [label for label in labels if label in trained_labels]
    rows = torch.tensor([labels.index(label) for label in kept], dtype=torch.long)
    given = torch.tensor([trained_labels.index(label) for label in kept], dtype=torch.long)
    classifier = classifier_name(backbone)
    own = backbone.state_dict()  # shares the memory of the weights
    for name, value in trained.state_dict().items():
        if name.startswith(classifier):
            own[name][rows] = value[given]
        else:
            own[name].copy_(value)
    return kept


def classifier_name(backbone: nn.Module) -> str:
    """What the names of the classifier's weights begin with."""
    return f"head.{len(backbone.head) - 1}."


def freeze(backbone: nn.Module, what: str | int | Sequence[str]) -> list[str]:
    """Keep parts of a backbone as they are in a training.

    It is then trained in plain torch: the compiled loops of a CPU train all weights.

    Args:
        what: `backbone`, everything but the classifier; a number of blocks from the input, with the stem before them;
            or names of parts, such as `stem` and `blocks.0`.

    Returns:
        The names of the parts.

    Raises:
        SettingError: there is no such part, or nothing is left to train.
    """
    parts = parts_of(backbone)
    if isinstance(what, int | float):
        check_whole(1, len(backbone.blocks), freeze=what)
        names = ["stem", *(f"blocks.{i}" for i in range(what))]
    else:
        names = [what] if isinstance(what, str) else list(what)
    unknown = [str(name) for name in names if name not in (ALL_BUT_CLASSIFIER, *parts)]
    if unknown or not names:
        raise SettingError(
            f"freeze must name parts of the network, got {', '.join(unknown) or 'none'}: there are "
            f"{', '.join([ALL_BUT_CLASSIFIER, *parts])}, or a number of blocks"
        )
    classifier = classifier_name(backbone)
    for name, parameter in backbone.named_parameters():
        holders = [part for part in names if name.startswith(f"{part}.")]
        if holders or ALL_BUT_CLASSIFIER in names and not name.startswith(classifier):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        raise SettingError(f"freeze={what} leaves nothing to train: leave out the classifier")
    if hasattr(backbone, "fast_training"):
        backbone.fast_training = False
    return names


def parts_of(backbone: nn.Module) -> list[str]:
    """Names of the layers and blocks that have weights, from the input on, and of what they belong to."""
    return [
        name
        for name, part in backbone.named_modules()
        if name and name.count(".") < 2 and any(True for _ in part.parameters())
    ]


def hold_frozen(network: nn.Module) -> None:
    """Let what is frozen compute as it did: batch norms keep their running statistics, and nothing is dropped."""
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()
