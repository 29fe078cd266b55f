from pathlib import Path

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.packaging import tensorrt_plan


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
