from collections.abc import Callable
from pathlib import Path

import pytest

from speech_commands_kws import KeywordSpotter
from speech_commands_kws.inference.batch import BatchInference


def test_windows_of_several_recordings_share_batches_and_keep_their_order(
    tiny_onnx: Path, burst_wav: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(burst_wav(f"{i}.wav", word)) for i, word in enumerate(("yes", "no", "yes"))]
    inference = BatchInference(KeywordSpotter(tiny_onnx, batch_size=2))
    found = list(inference.predictions([names[0], "nowhere.wav", *names[1:]]))
    assert [Path(name).name for name, _ in found] == ["0.wav", "1.wav", "2.wav"]
    assert [prediction.label for _, prediction in found] == ["yes", "no", "yes"]
    assert (inference.scored, inference.failures) == (3, 1)
    assert "error: nowhere.wav" in capsys.readouterr().err
