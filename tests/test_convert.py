"""`trt/convert.sh`: what it asks of trtexec, what it refuses, and that nothing is lost.

No GPU and no TensorRT is needed: programs of the same names stand in for them, which only note what they are asked.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorrt_programs import NVIDIA_SMI, TRTEXEC

SCRIPT = Path(__file__).resolve().parent.parent / "trt/convert.sh"
# All that the script needs, so that a machine's own nvidia-smi is not found.
TOOLS = (
    "basename bash cat cp cut dirname grep head id mkdir mktemp mv realpath rm sed sha256sum stat tail"
).split()
DOCKER = '#!/usr/bin/env bash\nprintf "docker %s\\n" "$*"\n[[ $* == *--help ]] && echo "[TensorRT v110201]"\n'
FIELD = "Format/Datatype"
FP32_LAYERS = json.dumps({"Layers": [{"Outputs": [{FIELD: "Row major linear FP32"}]}]}, indent=2)
FP16_LAYERS = FP32_LAYERS + json.dumps({FIELD: "Channel major FP16 format"})
# TensorRT 10 with a batch of any size names the weights only; 11 splits the field.
DYNAMIC_LAYERS = json.dumps({"Weights": {"Type": "Int8"}, FIELD: "N/A due to dynamic shapes"})
SPLIT_LAYERS = json.dumps({"Format": "Row major linear", "DataType": "Half"})


class Machine:
    """A folder of programs, and what the script did with them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.model, self.notes, self.programs = model, folder / "notes", folder / "programs"
        self.programs.mkdir()
        for name in TOOLS:
            (self.programs / name).symlink_to(shutil.which(name))
        for name, text in {"trtexec": TRTEXEC, "nvidia-smi": NVIDIA_SMI, "docker": DOCKER}.items():
            self.add(name, text)

    def add(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def remove(self, name: str) -> None:
        (self.programs / name).unlink()

    def convert(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
        environment = {"PATH": str(self.programs), "NOTES": str(self.notes), "LAYERS": FP32_LAYERS}
        return subprocess.run(
            [SCRIPT, *map(str, arguments)],
            env=environment | variables,
            capture_output=True,
            text=True,
            cwd=self.model.parent,
        )

    def refusal(self, *arguments: object, **variables: str) -> str:
        """Its one line of complaint."""
        done = self.convert(*arguments, **variables)
        assert (done.returncode, done.stdout) == (1, "")
        *before, line = done.stderr.splitlines()
        assert all(text.startswith("building ") for text in before), done.stderr
        assert line.startswith("error: ")
        return line

    def asked(self) -> list[str]:
        return self.notes.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, make_tiny_onnx: Callable) -> Machine:
    (tmp_path / "models").mkdir()
    return Machine(tmp_path, make_tiny_onnx(tmp_path / "models/model.onnx"))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_plan_is_built_as_the_configuration_says(machine: Machine) -> None:
    done = machine.convert(machine.model)
    assert done.returncode == 0, done.stderr
    plan = machine.model.with_suffix(".plan")
    assert plan.read_text() == "a plan"
    asked = machine.asked()
    assert asked[0] == f"--onnx={machine.model}"
    assert {"--stronglyTyped", "--noTF32", "--profilingVerbosity=detailed"} < set(asked)
    assert {f"--{end}Shapes=waveform:1x16000" for end in ("min", "opt")} < set(asked)
    assert {"--maxShapes=waveform:32x16000", "--builderOptimizationLevel=3"} < set(asked)
    # Removed in TensorRT 11, or another way to a precision than the ONNX file.
    assert not [flag for flag in asked if flag.startswith(("--fp16", "--int8", "--best", "--work"))]
    facts = json.loads(Path(f"{plan}.json").read_text())
    assert facts["onnx"] == "model.onnx" and facts["batch"] == [1, 1, 32]
    assert facts["onnx_sha256"] == hashlib.sha256(machine.model.read_bytes()).hexdigest()
    assert facts["plan_sha256"] == hashlib.sha256(b"a plan").hexdigest()
    assert (facts["tensorrt"], facts["gpu"]) == ("10.16.0", "NVIDIA H200")
    assert (facts["precision"], facts["layers"]) == ("fp32", "1 fp32, 0 fp16, 0 int8")
    suffixes = ("", ".json", ".layers.json", ".log")
    assert left(plan.parent) == {
        "model.onnx",
        "timing.cache",
        *(f"{plan.name}{end}" for end in suffixes),
    }


def test_arguments_go_before_the_configuration(machine: Machine, tmp_path: Path) -> None:
    plan = tmp_path / "a folder/with \"quotes' & spaces.plan"
    cache = tmp_path / "cache"
    cache.write_text("known")
    batches = ["--min-batch", 2, "--opt-batch", 4, "--max-batch", 8]
    more = ["--builder-level", 5, "--precision", "fp16", "--timing-cache", cache]
    done = machine.convert(*batches, *more, "--", machine.model, plan, LAYERS=FP16_LAYERS)
    assert done.returncode == 0, done.stderr
    assert {"--minShapes=waveform:2x16000", "--optShapes=waveform:4x16000"} < set(machine.asked())
    assert {"--maxShapes=waveform:8x16000", "--builderOptimizationLevel=5"} < set(machine.asked())
    assert machine.asked()[-1] == "known" and cache.read_text() == "timed"
    facts = json.loads(Path(f"{plan}.json").read_text())
    assert (plan.parent / facts["onnx"]).resolve() == machine.model
    assert facts["precision"] == "fp16" and "timing.cache" not in left(plan.parent)


def test_a_dry_run_prints_the_command_and_does_nothing(machine: Machine) -> None:
    for name in ("trtexec", "nvidia-smi"):
        machine.remove(name)
    done = machine.convert("--dry-run", machine.model, "new/m.plan")
    assert done.returncode == 0 and done.stderr == ""
    program, *asked = shlex.split(done.stdout)
    assert program.endswith("trtexec") and "--saveEngine=new/m.plan" in asked
    assert left(machine.model.parent) == {"model.onnx"} and not machine.notes.exists()


def test_a_container_sees_two_folders_and_no_network(machine: Machine, tmp_path: Path) -> None:
    image = "nvcr.io/nvidia/tritonserver:26.07-py3"
    done = machine.convert("--dry-run", "--image", image, machine.model, tmp_path / "out/m.plan")
    words = shlex.split(done.stdout)
    assert words[:2] == ["docker", "run"] and words[words.index("--network") + 1] == "none"
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert f"type=bind,source={machine.model},target=/model.onnx,readonly" in words
    assert f"type=bind,source={tmp_path}/out,target=/plan" in words
    program = words[words.index("--entrypoint") + 1]
    assert program == "/usr/src/tensorrt/bin/trtexec" and words[words.index(image) + 1 :][:2] == [
        "--onnx=/model.onnx",
        "--saveEngine=/plan/m.plan",
    ]
    # The version is asked of the container too.
    told = machine.convert("--check", "--image", image, machine.model)
    assert (told.returncode, told.stdout) == (0, "TensorRT 11.2.1 on NVIDIA H200\n")
    machine.remove("docker")
    assert "needs docker, which is not" in machine.refusal("--image", image, machine.model)


@pytest.mark.parametrize("greeting", ["v101200", "v11.1.0.106", "v110500"])
def test_these_versions_are_taken(machine: Machine, greeting: str) -> None:
    done = machine.convert("--check", machine.model, GREETING=greeting)
    assert done.returncode == 0 and left(machine.model.parent) == {"model.onnx"}


@pytest.mark.parametrize(
    ("greeting", "version"), [("v101100", "10.11.0"), ("v8601", None), ("v120000", "12.0.0")]
)
def test_other_versions_are_refused(machine: Machine, greeting: str, version: str | None) -> None:
    line = machine.refusal(machine.model, GREETING=greeting)
    expected = f"up to 11, found {version}:" if version else "does not tell its version"
    assert expected in line and not machine.notes.exists()


def test_what_the_machine_lacks_is_said(machine: Machine) -> None:
    assert "finds none" in machine.refusal(machine.model, GPU="")
    assert "does not run: " in machine.refusal(machine.model, HELP_STATUS="127")
    machine.remove("nvidia-smi")
    assert "no NVIDIA GPU here (nvidia-smi is not" in machine.refusal(machine.model)
    assert left(machine.model.parent) == {"model.onnx"}


@pytest.mark.skipif(Path("/usr/src/tensorrt/bin/trtexec").exists(), reason="TensorRT is here")
def test_a_missing_trtexec_is_said(machine: Machine) -> None:
    machine.remove("trtexec")
    assert "no trtexec on PATH or at /usr/src/tensorrt/bin" in machine.refusal(machine.model)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected MODEL.onnx and perhaps OUT, got 0 names"),
        (["MODEL", "a", "b"], "got 3 names"),
        (["MODEL", "--fp16"], "there is no option --fp16"),
        (["MODEL", "--precision"], "--precision needs a value"),
        (["MODEL", "--precision", "fp8"], "must be fp32, fp16 or int8, got 'fp8'"),
        (["MODEL", "--max-batch", "0"], "max_batch must be a whole number of 1 or more, got '0'"),
        (["MODEL", "--opt-batch", "33"], "min_batch <= opt_batch <= max_batch, got 1, 33, 32"),
        (["MODEL", "--min-batch", "2"], "min_batch <= opt_batch <= max_batch, got 2, 1, 32"),
        (["MODEL", "--builder-level", "6"], "a whole number of 0 to 5, got '6'"),
        (
            ["MODEL", "--timing-cache", "."],
            "must be a file in a folder that can be written to, got .",
        ),
        (["MODEL", "--timing-cache", "no/x"], "must be a file in a folder that can be written to"),
        (["MODEL", "a,b.plan", "--image", "x"], "docker cannot mount a path with a comma"),
        (["nowhere.onnx"], "nowhere.onnx is not a file that can be read"),
        (["foreign.onnx"], "foreign.onnx is not a keyword spotter exported by `kws export`"),
        (["MODEL", "."], ". is a folder"),
        (["MODEL", "MODEL"], "would take the place of an ONNX file"),
        (["MODEL", "foreign.onnx/m.plan"], "foreign.onnx cannot be made"),
    ],
)
def test_a_mistake_is_one_line(machine: Machine, arguments: list[str], complaint: str) -> None:
    (machine.model.parent / "foreign.onnx").write_bytes(b"\x08\x07")
    given = [str(machine.model) if name == "MODEL" else name for name in arguments]
    assert complaint in machine.refusal(*given)
    assert left(machine.model.parent) == {"model.onnx", "foreign.onnx"}


@pytest.mark.parametrize(
    ("asked", "layers", "fits"),
    [
        ("fp32", FP32_LAYERS, True),
        ("fp32", FP16_LAYERS, False),
        ("fp32", FP32_LAYERS + DYNAMIC_LAYERS, False),
        ("fp16", FP32_LAYERS, False),
        ("fp16", FP16_LAYERS, True),
        ("fp16", SPLIT_LAYERS, True),
        ("int8", FP16_LAYERS, False),
        ("int8", DYNAMIC_LAYERS, True),
        ("fp32", '{"Layers": ["conv"]}', False),
    ],
)
def test_the_precision_is_that_of_the_layers(
    machine: Machine, asked: str, layers: str, fits: bool
) -> None:
    done = machine.convert(machine.model, "--precision", asked, LAYERS=layers)
    assert (done.returncode == 0) is fits
    assert machine.model.with_suffix(".plan").exists() is fits
    if not fits:
        assert f"expected a plan of {asked}, its layers are" in done.stderr


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"FAILS": "no kernel fits"}, "trtexec failed (no kernel fits): see "),
        ({"LAYERS": ""}, "trtexec wrote no layer information"),
        ({"LAYERS": FP16_LAYERS}, "export the ONNX file with that precision"),
    ],
)
def test_a_failure_leaves_the_plan_that_was_there(
    machine: Machine, variables: dict[str, str], complaint: str
) -> None:
    assert machine.convert(machine.model).returncode == 0
    folder = machine.model.parent
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"}
    assert complaint in machine.refusal(machine.model, **variables)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"} == before
