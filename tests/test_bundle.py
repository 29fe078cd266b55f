"""`kws bundle` as it is typed."""

import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws import bundle
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError


def test_what_is_missing_is_one_clear_error(tmp_path):
    with initialize_config_dir(CONFIG_DIR):
        for given, message in (
            (
                [],
                r"nothing to bundle: name the runs, as in `kws bundle clip_run=RUN stream_run=RUN`",
            ),
            (["clip_run=nowhere"], "expected the folder of a run at run=nowhere"),
        ):
            with pytest.raises(KwsError, match=message):
                bundle.run(compose("bundle", [*given, f"paths.root={tmp_path}"]))
