"""A Triton repository is written from the exported model, and the one in git says what a model of its facts gives."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from onnx import load, save

from speech_commands_kws.cli.launch import CONFIG_DIR, build
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.packaging.triton_repository import (
    TritonModel,
    fill_repository,
    versions_of,
)

RELEASED = Path(__file__).resolve().parents[2] / "model_repository"
PARAMETER = re.compile(r'\{ key: "(\w+)" value: \{ string_value: ("(?:[^"\\]|\\.)*") \} \}')


def configured(repository: Path, *overrides: str, option: str = "repository") -> TritonModel:
    """The model as `triton=repository` has it."""
    settings = [f"triton={option}", f"triton.repository={repository}", *overrides]
    with initialize_config_dir(CONFIG_DIR):
        return build(compose("export", ["paths.root=.", *settings]).triton)


@pytest.fixture
def info(tiny_onnx: Path) -> ModelInfo:
    return OnnxBackend(tiny_onnx).info


def facts_in(config: str) -> dict[str, str]:
    return {key: json.loads(text) for key, text in PARAMETER.findall(config)}


def test_the_texts_say_what_the_artefact_says(tmp_path: Path, tiny_onnx: Path, info) -> None:
    model = configured(tmp_path)
    assert model.fill(tiny_onnx, info) == tmp_path / "kws_onnx" / "1" / "model.onnx"
    assert (tmp_path / "kws_onnx/1/model.onnx").read_bytes() == tiny_onnx.read_bytes()
    assert (tmp_path / "kws_onnx/labels.txt").read_text() == "_silence_\n_unknown_\nyes\nno\n"
    config = (tmp_path / "kws_onnx/config.pbtxt").read_text()
    for line in (
        'name: "kws_onnx"',
        'backend: "onnxruntime"',
        "max_batch_size: 64",
        '  { name: "waveform" data_type: TYPE_FP32 dims: [ 16000 ] }',
        '  { name: "probabilities" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" },',
        '  { name: "logits" data_type: TYPE_FP32 dims: [ 4 ] }',
        "version_policy { latest { num_versions: 1 } }",
        "  preferred_batch_size: [ 1, 2, 4, 8, 16, 32, 64 ]",
        "    timeout_action: REJECT",
        "    max_queue_size: 256",
    ):
        assert line in config.splitlines()
    assert config.count("zero_data: true") == 2
    facts = facts_in(config)
    assert facts.pop("intra_op_thread_count") == "1"
    assert ModelInfo.from_metadata(facts, "config.pbtxt") == info


def test_settings_are_those_of_the_configuration(tmp_path: Path, info) -> None:
    lines = configured(tmp_path, "triton.max_batch_size=6", "triton.queue_size=9")
    config = lines.config_text(info)
    assert "max_batch_size: 6\n" in config and "max_queue_size: 9\n" in config
    assert "preferred_batch_size: [ 1, 2, 4, 6 ]" in config and "batch of 6" in config


def test_a_new_file_is_a_new_version_and_the_same_one_is_not(
    tmp_path: Path, tiny_onnx: Path, info
) -> None:
    model = replace(configured(tmp_path / "r"), versions_kept=2)
    assert model.fill(tiny_onnx, info).parent.name == "1"
    assert model.fill(tiny_onnx, info).parent.name == "1"
    for number in (2, 3):
        changed = load(tiny_onnx)
        changed.doc_string = str(number)
        save(changed, tmp_path / "changed.onnx")
        assert model.fill(tmp_path / "changed.onnx", info).parent.name == str(number)
    assert versions_of(model.folder) == [2, 3]


def test_tensorrt_is_another_file_and_has_no_threads_of_onnxruntime(tmp_path: Path, info) -> None:
    model = configured(tmp_path / "r", "tensorrt.max_batch=16", option="tensorrt")
    (tmp_path / "plan").write_bytes(b"plan")
    assert model.fill(tmp_path / "plan", info).name == "model.plan"
    config = model.config_text(info)
    assert "intra_op_thread_count" not in config
    for setting in ('backend: "tensorrt"', "KIND_GPU count: 1", "max_batch_size: 16"):
        assert setting in config


def test_a_streaming_model_has_an_entry_of_its_own_whose_state_the_client_carries(
    tmp_path: Path, make_tiny_onnx, info
) -> None:
    """State and sound have one length, so that requests of many streams fit a batch, whatever the length of a clip."""
    facts = replace(
        info,
        training={"precision": "int8"},
        streaming={"hop_samples": 160, "state_shape": [352, 16]},
        detector={"thresholds": {"yes": 0.5}},
    )
    clips, stream, variant = (
        make_tiny_onnx(tmp_path / name, each.to_metadata())
        for name, each in {"model.onnx": info, "s.onnx": facts, "v.onnx": facts}.items()
    )
    entries = fill_repository(
        configured(tmp_path / "r", "triton.call_ms=250"), [clips, stream, variant]
    )
    assert list(entries) == ["kws_onnx", "kws_stream", "kws_stream_int8"]
    assert entries["kws_stream"] == tmp_path / "r" / "kws_stream" / "1" / "model.onnx"
    config = (tmp_path / "r" / "kws_stream" / "config.pbtxt").read_text()
    for line in (
        'name: "kws_stream"',
        '  { name: "waveform" data_type: TYPE_FP32 dims: [ 4000 ] },',
        '  { name: "state" data_type: TYPE_FP32 dims: [ 352, 16 ] }',
        '  { name: "probabilities" data_type: TYPE_FP32 dims: [ 25, 4 ] },',
        '  { name: "next_state" data_type: TYPE_FP32 dims: [ 352, 16 ] }',
    ):
        assert line in config.splitlines()
    assert config.count("zero_data: true") == 4
    said = facts_in(config)
    assert ModelInfo.from_metadata(said, "config.pbtxt") == facts


def test_quotes_and_letters_of_any_language_survive(tmp_path: Path, info) -> None:
    odd = replace(info, labels=('say "yes"', "back\\slash", "größe", "你好"))
    facts = facts_in(configured(tmp_path).config_text(odd))
    assert json.loads(facts["labels"]) == list(odd.labels)


SENSELESS = [
    *("triton.backend=python", "triton.kind=KIND_ABACUS", "triton.stream_name=a/b"),
    *(f"triton.name={name}" for name in ("a/b", "..", "'a b'", "'a\"b'", "''")),
]


@pytest.mark.parametrize("override", SENSELESS)
def test_settings_that_make_no_sense_are_refused(override: str, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="triton.(backend|name|stream_name|kind) must be"):
        configured(tmp_path, override)


def test_the_repository_in_git_is_what_an_export_of_its_facts_writes(tmp_path: Path) -> None:
    folder = RELEASED / "kws_onnx"
    config = (folder / "config.pbtxt").read_text()
    info = ModelInfo.from_metadata(facts_in(config), folder)
    assert config == configured(RELEASED).config_text(info)
    assert (folder / "labels.txt").read_text() == "".join(f"{label}\n" for label in info.labels)
    assert len(info.labels) == 12
    model = folder / "1" / "model.onnx"
    if model.is_file():  # it is under DVC, or one's own export
        assert OnnxBackend(model).info == info
