import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws.assembly.engine import engine_of
from speech_commands_kws.cli.launch import CONFIG_DIR


@pytest.mark.parametrize(
    ("name", "is_server", "suffix"),
    [
        ("onnx", False, ".onnx"),
        ("tensorrt", False, ".plan"),
        ("triton", True, None),
        ("triton_grpc", True, None),
    ],
)
def test_every_engine_says_what_it_runs(name, is_server, suffix):
    with initialize_config_dir(CONFIG_DIR):
        engine = engine_of(compose("infer", [f"backend={name}"]).backend)
    assert (engine.is_server, engine.suffix) == (is_server, suffix)
