import pytest
import torch

from speech_commands_kws.errors import SettingError
from speech_commands_kws.models.bc_resnet import BCResNet
from speech_commands_kws.models.ds_cnn import DSCNN
from speech_commands_kws.models.transfer import (
    class_name,
    freeze,
    hold_frozen,
    other_settings,
    take_over,
)


def test_settings_that_weights_do_not_depend_on_may_differ():
    trained = {"name": "BCResNet", "n_classes": 3, "n_mels": 40, "width": 1, "causal": True}
    wanted = {"_target_": "models.BCResNet", "_convert_": "all", "width": 2, "dropout": 0.0}
    assert other_settings(wanted, trained) == {"causal": True, "width": 1}
    assert other_settings({"causal": False, "n_mels": 80}, {"n_mels": 40}) == {"n_mels": 40}
    # Checkpoints of old hold the place of the class.
    assert class_name(wanted) == class_name(trained) == class_name({"_target_": "old.BCResNet"})


@pytest.mark.parametrize(
    "make",
    [
        lambda n_classes: BCResNet(n_classes, 40, 1, 5, 0.1, False),
        lambda n_classes: DSCNN(n_classes, 40, 16, 1, (4, 10), (2, 2), 0.1),
    ],
)
def test_rows_go_by_the_name_of_the_label_and_new_ones_stay(make):
    trained, network = make(3), make(4)
    trained(torch.randn(8, 1, 40, 101))  # running statistics
    before = [value.clone() for value in network.head[-1].parameters()]
    kept = take_over(network, ["d", "c", "b", "a"], trained, ["a", "x", "d"])
    assert kept == ["d", "a"]
    for value, fresh, old in zip(
        network.head[-1].parameters(), before, trained.head[-1].parameters(), strict=True
    ):
        assert value[0].equal(old[2]) and value[3].equal(old[0])
        assert value[1:3].equal(fresh[1:3])
    log_mel = torch.randn(2, 1, 40, 101)
    one, other = (
        each.eval()(log_mel)[:, at] for each, at in ((network, [3, 0]), (trained, [0, 2]))
    )
    assert torch.allclose(one, other, atol=1e-6)


def test_networks_without_a_label_in_common_share_the_backbone():
    trained, network = BCResNet(2, 40, 1, 5, 0.1, False), BCResNet(2, 40, 1, 5, 0.1, False)
    before = network.head[-1].weight.clone()
    assert take_over(network, ["a", "b"], trained, ["c", "d"]) == []
    assert network.head[-1].weight.equal(before) and network.stem[0].weight.equal(
        trained.stem[0].weight
    )


def after_a_step(network):
    """Its state before and after a step of the optimizer."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hold_frozen(network.train())
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, weight_decay=0.1)
    network(torch.randn(4, 1, 40, 101)).square().sum().backward()
    optimizer.step()
    return before, network.state_dict()


@pytest.mark.parametrize(
    "what, parts, frozen",
    [
        ("backbone", ["backbone"], ("stem.", "blocks.", "head.0.", "head.1.", "head.2.")),
        (2, ["stem", "blocks.0", "blocks.1"], ("stem.", "blocks.0.", "blocks.1.")),
        (["head.5", "blocks.1"], ["head.5", "blocks.1"], ("head.5.", "blocks.1.")),
    ],
)
def test_what_is_frozen_does_not_change_where_loops_are_compiled(what, parts, frozen):
    network = BCResNet(3, 40, 1, 5, 0.5, fast_training=True)
    assert freeze(network, what) == parts
    before, after = after_a_step(network)
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if not name.startswith(frozen)}


def test_what_is_frozen_drops_nothing():
    network = BCResNet(3, 40, 1, 5, 0.5, fast_training=True)
    freeze(network, "backbone")
    hold_frozen(network.train())
    log_mel = torch.randn(2, 1, 40, 101)
    assert network(log_mel).equal(network.eval()(log_mel))


@pytest.mark.parametrize(
    "what, message",
    [
        ("body", r"got body: there are backbone, stem, stem.0, stem.1, blocks, .*blocks.11, head"),
        (["stem", "blocks.12"], "got blocks.12: there are"),
        ([], "got none: there are"),
        (13, "freeze must be a whole number from 1 to 12, got 13"),
        (True, "freeze must be a whole number"),
        (["backbone", "head.5"], "leaves nothing to train"),
    ],
)
def test_freezing_what_is_not_there_names_what_is(what, message):
    with pytest.raises(SettingError, match=message):
        freeze(BCResNet(3, 40, 1, 5, 0.1, False), what)


def test_other_networks_have_parts_too():
    network = DSCNN(3, 40, 16, 1, (4, 10), (2, 2), 0.1)
    freeze(network, "backbone")
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == [
        "head.3.weight",
        "head.3.bias",
    ]
