from collections import Counter
from pathlib import Path

import onnx
import pytest

from speech_commands_kws.inference.onnx_operators import operator_counts, read_varint


def test_the_counts_are_those_that_onnx_reads(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    model.graph.name = "x" * 300  # a length of two bytes
    counts = operator_counts(model.SerializeToString())
    assert counts == Counter(node.op_type for node in model.graph.node)
    assert list(counts)[0] == "Mul"


def test_numbers_of_several_bytes() -> None:
    assert read_varint(memoryview(bytes([0b10010110, 0b1])), 0) == (150, 2)


@pytest.mark.parametrize("content", [b"\x80", b"\x3f", b"\x3a\xff"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        operator_counts(content)
