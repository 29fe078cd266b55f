"""Builds a TensorRT plan with trt/convert.sh, and says whether it is kept."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from speech_commands_kws.errors import KwsError, check_number
from speech_commands_kws.packaging.parity import Agreement

PACKAGE_DIR = Path(__file__).resolve().parent.parent
SCRIPT = Path("trt/convert.sh")
COMPLAINT = "error: "


@dataclass(frozen=True)
class PlanGate:
    """The conditions for keeping a plan.

    Attributes:
        difference: largest of probabilities and logits between a plan in fp32 and its ONNX file.
        same_keyword: lowest share of clips, of each kind of sound, with the same keyword.
        accuracy_loss: most that its accuracy may lie below that of its ONNX file.
    """

    difference: float
    same_keyword: float
    accuracy_loss: float

    def __post_init__(self) -> None:
        check_number(0, difference=self.difference, accuracy_loss=self.accuracy_loss)
        check_number(0, 1, same_keyword=self.same_keyword)

    def objections(self, agreement: Agreement, accuracies: tuple[float, float], exact: bool) -> str:
        """Why a plan is not kept, in a line; nothing where it is.

        Args:
            accuracies: of the ONNX file and of the plan, on the same clips.
            exact: the plan calculates in fp32, so that the answers themselves can be compared.
        """
        # Not >: NaN must not pass either.
        found = []
        if exact and not agreement.difference <= self.difference:
            found.append(f"answers differ by {agreement.difference:.1e}, not {self.difference:g}")
        if not agreement.same_keyword >= self.same_keyword:
            share = f"{agreement.same_keyword:.1%} of {agreement.kind}"
            found.append(f"it hears the same in {share}, not in {self.same_keyword:.1%}")
        if not accuracies[1] >= accuracies[0] - self.accuracy_loss:
            found.append(f"its accuracy is {accuracies[1]:.2%}, that of ONNX {accuracies[0]:.2%}")
        return "; ".join(found)


def build_plan(model: Path, output: Path, *flags: str, **settings: str | int | None) -> str:
    """Run trt/convert.sh; returns its last line.

    Args:
        model: the exported ONNX file.
        output: the plan to write.
        flags: such as `--check`, which builds nothing.
        settings: the keys of configs/tensorrt; None leaves the script its own.

    Raises:
        KwsError: the script refuses, in its own words.
    """
    options = [
        text
        for key, value in settings.items()
        if value is not None
        for text in (f"--{key.replace('_', '-')}", str(value))
    ]
    command = ["bash", str(find_script()), *options, *flags, "--", str(model), str(output)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise KwsError(f"{SCRIPT} needs bash, which is not installed: install it") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise KwsError(lines[-1].removeprefix(COMPLAINT))
    return done.stdout.strip()


def find_script() -> Path:
    """The script: a wheel carries it inside the package, a checkout has it beside.

    Raises:
        KwsError: it is in neither place.
    """
    places = (PACKAGE_DIR / SCRIPT, PACKAGE_DIR.parent / SCRIPT)
    for path in places:
        if path.is_file():
            return path
    raise KwsError(f"expected {SCRIPT} at {places[1]}, it is not there: use a checkout")
