"""A configuration calls what is on the list, and nothing else: run folders are copied from others."""

from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from speech_commands_kws.cli.launch import CONFIG_DIR, EXECUTION_WHITELIST, build, checked
from speech_commands_kws.cli.targets import TARGETS
from speech_commands_kws.errors import KwsError


def node(target: str):
    return OmegaConf.create({"_target_": target, "_args_": []})


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_exists(target):
    assert callable(get_object(target))


@pytest.mark.parametrize(
    "target",
    [
        "speech_commands_kws.serving.environment._run",
        "speech_commands_kws.files.atomic.write_whole",
        "speech_commands_kws.tracking.runs.json.dumps",
        "lightning.pytorch.callbacks.model_checkpoint.shutil.rmtree",
        "torch.optim.sgd.torch.load",
        "fractions.Fraction",
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_anything_else_is_refused(target, nested):
    cfg = OmegaConf.create({"_target_": "torch.optim.SGD", "lr": node(target)})
    with pytest.raises(KwsError, match=rf"{target}, which is not on the list.*targets="):
        build(cfg if nested else node(target))


def test_the_command_line_adds_modules_of_ones_own():
    def run(cfg):
        return build(node("fractions.Fraction"))

    cfg = OmegaConf.create({"targets": ["fractions.*"]})
    assert checked(run, cfg) == 0
    with pytest.raises(KwsError, match="fractions"):
        checked(run, OmegaConf.create({"targets": []}))
    with pytest.raises(KwsError, match="fractions"):
        build(node("fractions.Fraction"))


def test_what_the_log_is_made_of_is_on_the_list():
    text = Path(CONFIG_DIR, "hydra/job_logging/console.yaml").read_text("utf-8")
    settings = OmegaConf.create(text)
    made = {
        node["class"] for part in ("formatters", "handlers") for node in settings[part].values()
    }
    own = {name for name in made if not name.startswith("logging.")}
    assert own and own <= {*EXECUTION_WHITELIST}
