from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging import tensorrt_plan
from speech_commands_kws.packaging.parity import Agreement
from speech_commands_kws.packaging.tensorrt_plan import PlanGate

GATE = PlanGate(difference=1e-3, same_keyword=0.9, accuracy_loss=0.003)
GOOD = Agreement(1e-5, 1.0, "clips")


@pytest.mark.parametrize(
    ("agreement", "accuracies", "exact", "objection"),
    [
        (GOOD, (0.97, 0.97), True, ""),
        (GOOD, (0.97, 0.968), True, ""),
        (
            Agreement(0.002, 1.0, "clips"),
            (0.97, 0.97),
            True,
            "answers differ by 2.0e-03, not 0.001",
        ),
        (Agreement(0.2, 1.0, "clips"), (0.97, 0.97), False, ""),
        (Agreement(0.2, 0.8, "noise"), (0.97, 0.97), False, "hears the same in 80.0% of noise"),
        (GOOD, (0.97, 0.966), True, "its accuracy is 96.60%, that of ONNX 97.00%"),
        (GOOD, (0.97, float("nan")), True, "its accuracy is nan%"),
        (Agreement(float("nan"), 1.0, "clips"), (0.97, 0.97), True, "answers differ by nan"),
    ],
)
def test_the_gate(agreement, accuracies, exact: bool, objection: str) -> None:
    found = GATE.objections(agreement, accuracies, exact)
    assert objection in found and bool(objection) == bool(found)


def test_the_script_is_found_and_its_own_words_are_told(tmp_path, monkeypatch) -> None:
    with pytest.raises(KwsError, match="^min_batch must be a whole number of 1 or more, got 'x'$"):
        tensorrt_plan.build_plan(
            make_model(tmp_path), tmp_path / "m.plan", min_batch="x", image=None
        )
    monkeypatch.setattr(tensorrt_plan, "SCRIPT", Path("trt/gone.sh"))
    with pytest.raises(KwsError, match="expected trt/gone.sh at .*, it is not there"):
        tensorrt_plan.build_plan(tmp_path, tmp_path)


def make_model(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"clip_samples\x12\x0516000")
    return path
