"""Targets that saved configurations name, and where they lie today."""

from importlib import import_module

import pytest

from speech_commands_kws.tracking.old_names import MOVED, renamed


@pytest.mark.parametrize("target", MOVED.values())
def test_every_new_name_is_there(target: str) -> None:
    module, _, name = target.rpartition(".")
    assert hasattr(import_module(module), name)


def test_old_targets_are_replaced_at_any_depth_and_nothing_else() -> None:
    old, new = next(iter(MOVED.items()))
    node = {"data": [{"_target_": old, "note": old}], "other": {"_target_": "torch.optim.SGD"}}
    assert renamed(node) == {
        "data": [{"_target_": new, "note": old}],
        "other": {"_target_": "torch.optim.SGD"},
    }
