import pytest
from hydra import compose, initialize_config_dir

from speech_commands_kws.assembly import engine
from speech_commands_kws.assembly.engine import engine_of, find_model
from speech_commands_kws.cli.launch import CONFIG_DIR
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference import released


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


def test_the_model_of_the_package_is_announced_as_such(tmp_path, capsys, monkeypatch):
    facts = tmp_path / "provenance.json"
    facts.write_text('{"not_for_use": null, "models": {"model.onnx": {}}}')
    for module in (released, engine):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    with initialize_config_dir(CONFIG_DIR):
        cfg = compose("infer", [f"paths.root={tmp_path}/none"])
    assert find_model(cfg, released=True) == tmp_path / "model.onnx"
    said = capsys.readouterr().err
    assert said.startswith("model: model.onnx of speech-commands-kws ") and "NOT FOR" not in said
    facts.write_text(facts.read_text().replace("null", '"a test"'))
    find_model(cfg, released=True)
    assert capsys.readouterr().err.endswith("has no export; NOT FOR USE: a test\n")
    with pytest.raises(KwsError, match="no exported model.onnx under"):
        find_model(cfg)


def test_only_a_model_that_nobody_named_is_announced(tmp_path, capsys):
    model = tmp_path / "plots/runs/one/model.onnx"
    model.parent.mkdir(parents=True)
    model.touch()
    with initialize_config_dir(CONFIG_DIR):
        for given, said in ((f"model={model}", False), ("model=null", True)):
            assert find_model(compose("infer", [f"paths.root={tmp_path}", given])) == model
            assert capsys.readouterr().err.startswith(f"model: {model}, ") == said
