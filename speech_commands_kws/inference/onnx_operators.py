"""Counts the operators of an ONNX file without the package onnx, which running a model does not need.

An ONNX file is a protocol-buffers message; of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto only these
numbers of fields matter here.
"""

from collections import Counter
from collections.abc import Iterator

MODEL_GRAPH, GRAPH_NODE, NODE_OPERATOR = 7, 1, 4
# How a field is stored: https://protobuf.dev/programming-guides/encoding
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
TYPE_BITS, TYPE_MASK = 3, 7
VARINT_BITS, VARINT_MASK, VARINT_CONTINUES = 7, 127, 128


def operator_counts(content: bytes) -> dict[str, int]:
    """How often each operator occurs in the graph of a model, the most frequent first.

    Raises:
        ValueError: it is not a protocol-buffers message.
    """
    counts = Counter(
        bytes(operator).decode()
        for graph in messages(memoryview(content), MODEL_GRAPH)
        for node in messages(graph, GRAPH_NODE)
        for operator in messages(node, NODE_OPERATOR)
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def messages(content: memoryview, wanted: int) -> Iterator[memoryview]:
    """The fields of a message that have this number and a length: messages, texts."""
    position = 0
    while position < len(content):
        key, position = read_varint(content, position)
        number, kind = key >> TYPE_BITS, key & TYPE_MASK
        if kind == VARINT:
            _, position = read_varint(content, position)
            continue
        if kind == LENGTH_DELIMITED:
            length, position = read_varint(content, position)
        elif kind in FIXED_BYTES:
            length = FIXED_BYTES[kind]
        else:
            raise ValueError(f"no field of a message has the type {kind}")
        if kind == LENGTH_DELIMITED and number == wanted:
            yield content[position : position + length]
        position += length


def read_varint(content: memoryview, position: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value = shift = 0
    while position < len(content):
        byte = content[position]
        position += 1
        value |= (byte & VARINT_MASK) << shift
        if byte < VARINT_CONTINUES:
            return value, position
        shift += VARINT_BITS
    raise ValueError("a message ends within a number")
