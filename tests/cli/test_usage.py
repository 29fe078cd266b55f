"""What the help takes from YAML files; the pages themselves are in `test_commands.py`."""

from pathlib import Path

from speech_commands_kws.cli.usage import command_help, comments

YAML = """# Of the whole file.
defaults:
  - paths

# How fast it goes,
# in words.
speed: 0.1 # metres per second
bare: 1

part:
  # Inside.
  pattern: "a b"
  width: 2 # of it
# After.
after: [1, 2]
"""


def test_comments_stand_above_or_beside_a_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(YAML)
    assert comments(path) == {
        "speed": "metres per second",
        "part.pattern": "Inside.",
        "part.width": "of it",
        "after": "After.",
    }


def test_the_page_of_a_training_has_the_comments_and_defaults_of_the_yaml_files() -> None:
    page = command_help("train", "train it", "", ["resume=true"])
    assert "Train it.\n" in page and "\n  kws train resume=true\n" in page
    assert "  trainer.max_epochs=12\n      passes over the training clips\n" in page
    assert "  backbone.width=1\n      1, 1.5, 2, 3, 6 or 8\n" in page
    assert "  augment     robust, none, recipe, streams\n" in page
    assert "  name=bc_resnet_synthetic\n" in page
    assert "  data.root=...\n      required with data=folder and data=mixed: " in page


def test_the_page_has_choices_that_the_command_has_a_use_for() -> None:
    assert "  backend   onnx, tensorrt\n" in command_help("export", "export it", "", [])
    assert "  triton    null, repository, tensorrt\n" in command_help("export", "export it", "", [])
    assert "  backend  onnx, tensorrt, triton, triton_grpc\n" in command_help(
        "infer", "ask", "", []
    )
