"""Adds a keyword to an exported model: one more row of its linear classifier, computed from a few recordings.

The network stays as it is. What it hands to the classifier is an embedding, and a logistic regression on the embeddings
of the recordings and of other words gives the row that competes with the other rows.

Legend: B batch, T samples, E numbers of an embedding, K labels of the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from speech_commands_kws.errors import KwsError, check_number, check_positive
from speech_commands_kws.inference.backends.onnx import import_onnxruntime
from speech_commands_kws.inference.model_info import INPUT, LOGITS, PROBABILITIES, ModelInfo
from speech_commands_kws.labels import UNKNOWN
from speech_commands_kws.packaging.onnx_export import drop_unused

CONVOLUTION, PRODUCT = "Conv", "Gemm"
# What may stand between the classifier and the logits, because it treats every label by itself.
AFTER_CLASSIFIER = ("Squeeze", "ReduceMean")
ERRORS_ONLY = 3


@dataclass(frozen=True)
class Classifier:
    """The last layer of a model.

    Attributes:
        names: of its weights and its bias in the graph.
        weight: (K, E).
        bias: (K,).
    """

    names: tuple[str, str]
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """(B, K) of embeddings (B, E)."""
        return embeddings @ self.weight.T + self.bias


class Spoken(NamedTuple):
    """What synthetic voices say: embeddings (n, E) of the new word and (m, E) of other words."""

    word: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class Enrolment:
    """How the row of a new label is computed.

    Attributes:
        false_accepts: share of the clips of other words that the new label may win.
        ridge: weight of the squared length of the row, which keeps it from fitting a few clips alone.
        shrinkage: share of the mean variance that is added to each variance of the embeddings.
        spoken_share: weight of what synthetic voices say of the word, beside its recordings; 0 where none speak.
    """

    false_accepts: float
    ridge: float
    shrinkage: float
    spoken_share: float

    def __post_init__(self) -> None:
        check_number(0, 1, false_accepts=self.false_accepts, spoken_share=self.spoken_share)
        check_positive(ridge=self.ridge, shrinkage=self.shrinkage)

    def row(
        self,
        word: np.ndarray,
        spoken: Spoken,
        others: np.ndarray,
        classifier: Classifier,
        start: np.ndarray,
    ) -> tuple[np.ndarray, float]:
        """Weights (E,) and bias of the new label.

        The weights are those of a logistic regression against the softmax of the other labels, both sides of equal
        weight: they begin at `start` (E,), and how far they go from there is measured by the covariance of the other
        words. With the bias the label wins for no larger share of the recorded other words than it may.

        Args:
            word: (B, E) embeddings of recordings of the word.
            others: (B, E) of recordings of other words.
        """
        against = np.concatenate([others, spoken.others])
        mean, covariance = against.mean(axis=0), np.cov(against.T)
        size = len(mean)
        covariance += self.shrinkage * np.trace(covariance) / size * np.eye(size)
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        embeddings = np.concatenate([word, spoken.word, against])
        inputs = np.column_stack([(embeddings - mean) @ whitening.T, np.ones(len(embeddings))])
        offsets = embeddings @ start - logsumexp(classifier.logits(embeddings), axis=1)
        counts = np.array([len(word), len(spoken.word), len(against)])
        signs = np.repeat([1.0, 1.0, -1.0], counts)
        spoken_share = self.spoken_share * (len(spoken.word) > 0)
        weights = np.array([(1 - spoken_share) / 2, spoken_share / 2, 0.5])
        shares = np.repeat(weights / np.maximum(counts, 1), counts)
        penalties = np.append(np.full(size, self.ridge), 0.0)  # the bias is free

        def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
            margins = signs * (inputs @ values + offsets)
            slope = -inputs.T @ (shares * signs * expit(-margins))
            value = shares @ np.logaddexp(0, -margins) + penalties @ values**2 / 2
            return value, slope + penalties * values

        found = minimize(loss, np.zeros(size + 1), jac=True, method="L-BFGS-B").x
        weights = start + whitening.T @ found[:-1]
        return weights, -np.quantile(lead(weights, others, classifier), 1 - self.false_accepts)

    def measure(
        self,
        clips: np.ndarray,
        spoken: Spoken,
        others: np.ndarray,
        classifier: Classifier,
        start: np.ndarray,
    ) -> tuple[float, float]:
        """Recall of the word and share of other words taken for it, on clips that the row has not seen.

        Each clip is left out in its turn, and with it an equal part of the other words.

        Args:
            clips: (n, variants, E) embeddings of the recordings; the first of each is the recording as it is.
            others: (B, E).
        """
        n_clips = len(clips)
        heard, wrong = 0, 0
        for k in range(n_clips):
            seen = np.delete(clips, k, axis=0).reshape(-1, clips.shape[-1])
            left_out = np.arange(len(others)) % n_clips == k
            weights, bias = self.row(seen, spoken, others[~left_out], classifier, start)
            heard += int(lead(weights, clips[k, :1], classifier)[0] + bias > 0)
            wrong += int(np.sum(lead(weights, others[left_out], classifier) + bias > 0))
        return heard / n_clips, wrong / len(others)


def lead(weights: np.ndarray, embeddings: np.ndarray, classifier: Classifier) -> np.ndarray:
    """(B,) by how much a row, without its bias, is ahead of the best logit of embeddings (B, E)."""
    return embeddings @ weights - classifier.logits(embeddings).max(axis=1)


def starting_row(classifier: Classifier, info: ModelInfo) -> np.ndarray:
    """(E,) what a new word is like before it is known: an unknown one, where the model has that label."""
    if UNKNOWN in info.labels:
        return classifier.weight[info.labels.index(UNKNOWN)]
    return np.zeros(classifier.weight.shape[1])


def find_classifier(model: onnx.ModelProto, path: Path) -> Classifier:
    """The linear layer that gives the logits.

    Raises:
        KwsError: the model does not end in one, in single precision.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    node = makers[LOGITS]
    while node.op_type in AFTER_CLASSIFIER and node.input[0] in makers:
        node = makers[node.input[0]]
    names = tuple(node.input[1:])
    found = [tensors[name] for name in names if name in tensors]
    if len(found) != 2 or not is_linear(node, found[0]):
        raise KwsError(
            f"expected a model that ends in a linear layer in single precision, {path} does not: give the model.onnx "
            "that `kws export` writes, not its variant in fewer bits"
        )
    weight, bias = map(numpy_helper.to_array, found)
    return Classifier(names, weight.reshape(weight.shape[:2]).astype(float), bias.astype(float))


def is_linear(node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    """Whether logit k is made of row k of the weights, and of nothing else."""
    settings = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if weight.data_type != onnx.TensorProto.FLOAT:
        return False
    if node.op_type == PRODUCT:
        return settings.get("transB") == 1
    pointwise = set(weight.dims[2:]) <= {1} and settings.get("group", 1) == 1
    return node.op_type == CONVOLUTION and pointwise


def embedder(model: onnx.ModelProto, classifier: Classifier) -> Callable[[np.ndarray], np.ndarray]:
    """From waveforms (B, T) to embeddings (B, E): the model with each number of the embedding as a logit of its own."""
    size = classifier.weight.shape[1]
    changed = with_rows(model, classifier, np.eye(size), np.zeros(size))
    del changed.graph.output[:]
    changed.graph.output.append(scores_of(LOGITS, size))
    drop_unused(changed.graph)
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        changed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda waveforms: session.run([LOGITS], {INPUT: waveforms})[0].astype(float)


def with_label(
    model: onnx.ModelProto, classifier: Classifier, weights: np.ndarray, bias: float
) -> onnx.ModelProto:
    """The model with one more label, the last one, by its row (E,) and bias."""
    rows = np.vstack([classifier.weight, weights])
    changed = with_rows(model, classifier, rows, np.append(classifier.bias, bias))
    del changed.graph.output[:]
    changed.graph.output.extend(scores_of(name, len(rows)) for name in (PROBABILITIES, LOGITS))
    onnx.checker.check_model(changed, full_check=True)
    return changed


def with_rows(
    model: onnx.ModelProto, classifier: Classifier, weight: np.ndarray, bias: np.ndarray
) -> onnx.ModelProto:
    """A copy of the model whose classifier has these weights (K, E) and biases (K,)."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    for name, values in zip(classifier.names, (weight, bias), strict=True):
        shape = [len(values), *tensors[name].dims[1:]]
        values = values.astype(np.float32).reshape(shape)
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    return changed


def scores_of(name: str, size: int) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
