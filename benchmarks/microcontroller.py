"""What the networks need on a microcontroller: memory and multiply-adds in int8, from the graph.

Protocol
    The network alone, from log-mel frames to logits, is exported with a batch of 1, its normalisations folded into the
    convolutions where ONNX Runtime can, and run once to learn the shape of every tensor. Nothing is run on a device.
    Flash: a byte for each weight of a convolution or matrix product, four for each bias, and the constants of other
    steps in a byte each; not the code. Memory (RAM): a byte for each value of the tensors that are needed at one time,
    steps in the order of the graph, the most of all steps. A step that only names values anew (reshape) takes none, nor
    one of one tensor that nobody needs afterwards (relu); one that adds two tensors writes a third. A runtime may place
    tensors worse.
    Multiply-adds are those of convolutions and matrix products. The front-end comes on top: an FFT of 512 points every
    10 ms in fixed point, some 4 kB.

    python benchmarks/microcontroller.py [NETWORK ...]     all unless told: a table of the networks and one of the
                                                           layers of the first, which go to docs/microcontrollers.md,
                                                           and JSON on the last line
"""

import json
import math
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from one_engine import make_spotter

from speech_commands_kws.packaging.model_card import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "microcontrollers.md"
BEGIN, END = "<!-- microcontrollers -->", "<!-- /microcontrollers -->"
NETWORKS = {
    **{f"BC-ResNet-{width}": [f"backbone.width={width}"] for width in (1, 1.5, 2, 3, 6, 8)},
    "DS-CNN": ["backbone=ds_cnn"],
    "speech_embedding": ["backbone=speech_embedding"],
}
N_SAMPLES = 16_000
OPSET = 18
BIAS_BYTES = 4
NAMES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
IN_PLACE = {"Relu", "Sigmoid", "Clip", "LeakyRelu", "HardSigmoid"}
PRODUCTS = {"Conv", "FusedConv", "MatMul", "Gemm"}
SIZES_KB = (64, 256, 512)
KB, MILLION = 1024, 1e6


@dataclass(frozen=True)
class Step:
    """A step of the graph: bytes of flash, of memory while it runs, and multiply-adds."""

    name: str
    shape: tuple[int, ...]
    flash: int
    memory: int
    products: int


def graph_of(overrides: list[str], folder: Path) -> tuple[onnx.GraphProto, np.ndarray]:
    """The graph of a network, optimised, and log-mel frames for it."""
    torch.manual_seed(0)
    spotter, _ = make_spotter(overrides)
    log_mel = spotter.frontend(torch.randn(1, N_SAMPLES) / 10)
    path, optimised = folder / "network.onnx", folder / "optimised.onnx"
    torch.onnx.export(
        spotter.backbone, (log_mel,), path, opset_version=OPSET, dynamo=True, verbose=False
    )
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(path, options)
    return onnx.load(optimised).graph, log_mel.numpy()


def shapes_of(graph: onnx.GraphProto, given: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Of every tensor that a step makes, by running the graph."""
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )
    made = [name for node in graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(made, {graph.input[0].name: given})
    return {graph.input[0].name: given.shape} | {
        name: value.shape for name, value in zip(made, found)
    }


def steps_of(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[Step]:
    constants = {each.name: tuple(each.dims) for each in graph.initializer}
    holder = {graph.input[0].name: graph.input[0].name}  # the tensor whose memory another one uses
    users = Counter(name for node in graph.node for name in node.input)
    last = defaultdict(int)
    for k, node in enumerate(graph.node):
        inputs = [name for name in node.input if name in shapes]
        in_place = node.op_type in IN_PLACE and users[node.input[0]] == 1
        shares = inputs and (node.op_type in NAMES or in_place)
        for name in node.output:
            holder[name] = holder[inputs[0]] if shares else name
        for name in (*inputs, *node.output):
            last[holder[name]] = k
    live = {graph.input[0].name}
    for k, node in enumerate(graph.node):
        live |= {holder[name] for name in node.output}
        weights = [constants[name] for name in node.input if name in constants]
        flash = products = 0
        if node.op_type in PRODUCTS and weights:
            sizes = [math.prod(dims) for dims in weights]
            flash = sizes[0] + BIAS_BYTES * sum(sizes[1:])
            products = products_of(node, weights[0], shapes[node.output[0]])
        elif node.op_type not in NAMES:
            flash = sum(math.prod(dims) for dims in weights)
        memory = sum(math.prod(shapes[name]) for name in live)
        yield Step(node.op_type, shapes[node.output[0]], flash, memory, products)
        live = {name for name in live if last[name] > k}


def products_of(node: onnx.NodeProto, weight: tuple[int, ...], made: tuple[int, ...]) -> int:
    """Multiply-adds: each value that a convolution makes takes those of all weights of its channel."""
    if "Conv" in node.op_type:
        return math.prod(made) * math.prod(weight[1:])
    return math.prod(made) * math.prod(weight) // made[-1]


def table_of(networks: dict[str, list[Step]]) -> str:
    heads = ["network", "flash, kB", "memory, kB", "multiply-adds, M", "steps"]
    rows = [[*heads, *(f"{size} kB" for size in SIZES_KB)]]
    for name, steps in networks.items():
        flash, memory = (sum(step.flash for step in steps), max(step.memory for step in steps))
        products = sum(step.products for step in steps) / MILLION
        fits = ["fits" if memory <= size * KB else "" for size in SIZES_KB]
        rows.append(
            [
                name,
                f"{flash / KB:,.0f}",
                f"{memory / KB:,.0f}",
                f"{products:.1f}",
                str(len(steps)),
                *fits,
            ]
        )
    return table(rows[0], rows[1:])


def layers_of(name: str, steps: list[Step]) -> str:
    rows = [["layer", "output", "flash, B", "memory, B", "multiply-adds"]]
    rows += [
        [
            step.name,
            " x ".join(map(str, step.shape[1:])),
            f"{step.flash:,}",
            f"{step.memory:,}",
            f"{step.products:,}",
        ]
        for step in steps
        if step.products
    ]
    return f"### The layers of {name}\n\n{table(rows[0], rows[1:])}"


def main() -> None:
    names = sys.argv[1:] or list(NETWORKS)
    networks = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            graph, log_mel = graph_of(NETWORKS[name], Path(folder))
        networks[name] = list(steps_of(graph, shapes_of(graph, log_mel)))
    text = f"{table_of(networks)}\n\n{layers_of(names[0], networks[names[0]])}"
    print(text)
    if not sys.argv[1:]:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
    print(json.dumps({name: [asdict(step) for step in steps] for name, steps in networks.items()}))


if __name__ == "__main__":
    main()
