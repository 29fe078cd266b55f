"""Names that survive Hydra's grammar are in `test_commands.py`."""

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.cli.overrides import resume_command


@pytest.mark.parametrize("folder", ["/runs/one", "/my runs/a 'b', c", "/ends/\\", "/x=1/[y]"])
def test_the_way_to_go_on_can_be_copied_from_the_terminal(folder):
    command = shlex.split(resume_command(Path(folder)))
    assert command[:2] == ["kws", "train"]
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("train", command[2:])
    assert (cfg.resume, cfg.run) == (True, folder)


def test_a_plain_folder_needs_no_quotes():
    assert resume_command(Path("/runs/one")) == "kws train resume=true run=/runs/one"
