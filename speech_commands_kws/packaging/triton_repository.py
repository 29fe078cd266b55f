"""A model repository that Triton serves: for each model its file by version, config.pbtxt and labels.txt.

Both texts are written from the exported model, so that nothing about a model is said twice; its metadata
becomes parameters of the configuration, from which a client learns labels, sample rate and clip length.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from filecmp import cmp
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import SettingError, check_choice, check_positive, check_whole
from speech_commands_kws.files.atomic import replacing, write_whole, written_to
from speech_commands_kws.inference.backends.onnx import OnnxBackend
from speech_commands_kws.inference.detector import MS_PER_SECOND
from speech_commands_kws.inference.model_info import (
    INPUT,
    LOGITS,
    NEXT_STATE,
    PROBABILITIES,
    STATE,
    ModelInfo,
)

LOG = logging.getLogger(__name__)
CONFIG_FILE = "config.pbtxt"
LABELS_FILE = "labels.txt"
MODEL_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
KINDS = ("KIND_CPU", "KIND_GPU")
Shapes = dict[str, tuple[int, ...]]
NAME_FORM = re.compile(r"\w[\w.-]*", re.ASCII)  # of a folder, and in the address of an inference


@dataclass(frozen=True)
class TritonModel:
    """A model of a repository, and how Triton runs it.

    Attributes:
        repository: the folder of the repository.
        name: of the model, by which clients ask for it.
        stream_name: of its form for streams.
        call_ms: sound in a request for a stream, milliseconds: always as much, so that those of many streams fit one
            batch.
        backend: onnxruntime or tensorrt.
        kind: KIND_CPU or KIND_GPU.
        instances: copies that run side by side.
        intra_threads: threads inside one operator of onnxruntime.
        max_batch_size: most clips scored at once; a request with more is refused.
        queue_delay_us: how long a request waits for others to share a batch with, microseconds.
        queue_size: requests that may wait; one more is answered 503.
        queue_timeout_us: a request that has waited longer is answered 503, microseconds.
        versions_kept: how many of the newest versions stay on disk; the newest is served.
    """

    repository: str | Path
    name: str
    stream_name: str
    call_ms: float
    backend: str
    kind: str
    instances: int
    intra_threads: int
    max_batch_size: int
    queue_delay_us: int
    queue_size: int
    queue_timeout_us: int
    versions_kept: int

    def __post_init__(self) -> None:
        check_choice(MODEL_FILES, backend=self.backend)
        check_choice(KINDS, kind=self.kind)
        for key, name in {"name": self.name, "stream_name": self.stream_name}.items():
            if not NAME_FORM.fullmatch(str(name)):
                raise SettingError(
                    f"{key} must be of letters, digits and . _ - within, got {name!r}"
                )
        check_positive(call_ms=self.call_ms)
        check_whole(instances=self.instances, max_batch_size=self.max_batch_size)
        check_whole(queue_size=self.queue_size, versions_kept=self.versions_kept)
        check_whole(0, queue_delay_us=self.queue_delay_us, queue_timeout_us=self.queue_timeout_us)

    @property
    def folder(self) -> Path:
        return Path(self.repository).expanduser() / self.name

    def fill(self, model: Path, info: ModelInfo) -> Path:
        """Put a model file into the repository as its newest version; returns where it lies.

        A file that is the newest version already gets no new one. The texts are written before the version appears, so
        that a server which looks meanwhile finds them fitting it.

        Raises:
            KwsError: the folder cannot be written to.
        """
        versions = versions_of(self.folder)
        file = MODEL_FILES[self.backend]
        newest = self.folder / str(max(versions, default=1)) / file
        if newest.is_file() and not cmp(newest, model, shallow=False):
            newest = self.folder / str(max(versions) + 1) / file
        write_whole(self.folder / LABELS_FILE, "\n".join((*info.labels, "")))
        write_whole(self.folder / CONFIG_FILE, self.config_text(info))
        if not newest.is_file():
            with replacing(newest) as partial, written_to(newest):
                shutil.copyfile(model, partial)
        for version in versions_of(self.folder)[: -self.versions_kept]:
            shutil.rmtree(self.folder / str(version))
        return newest

    def config_text(self, info: ModelInfo) -> str:
        """The model's config.pbtxt."""
        inputs, outputs = self._shapes(info)
        sizes = dict.fromkeys((1, self.max_batch_size))
        warm_up = [_warm_up(size, inputs) for size in sizes]
        parameters = info.to_metadata()
        if self.backend == "onnxruntime":
            parameters["intra_op_thread_count"] = str(self.intra_threads)
        return "\n".join(
            [
                "# Written from the exported model by `kws export triton=repository`; not to be edited.",
                f'name: "{self.name}"',
                f'backend: "{self.backend}"',
                f"max_batch_size: {self.max_batch_size}",
                "input [",
                ",\n".join(_tensor(name, shape) for name, shape in inputs.items()),
                "]",
                "output [",
                ",\n".join(_tensor(name, shape) for name, shape in outputs.items()),
                "]",
                "version_policy { latest { num_versions: 1 } }",
                f"instance_group [ {{ kind: {self.kind} count: {self.instances} }} ]",
                "dynamic_batching {",
                f"  preferred_batch_size: [ {', '.join(map(str, self._batch_sizes()))} ]",
                f"  max_queue_delay_microseconds: {self.queue_delay_us}",
                "  default_queue_policy {",
                "    timeout_action: REJECT",
                f"    default_timeout_microseconds: {self.queue_timeout_us}",
                f"    max_queue_size: {self.queue_size}",
                "  }",
                "}",
                "model_warmup [",
                ",\n".join(warm_up),
                "]",
                "parameters [",
                ",\n".join(_parameter(key, value) for key, value in parameters.items()),
                "]",
                "",
            ]
        )

    def _shapes(self, info: ModelInfo) -> tuple[Shapes, Shapes]:
        """Of the inputs and of the outputs, without the batch."""
        n_keywords = len(info.labels)
        if not info.streaming:
            return {INPUT: (info.clip_samples,)}, dict.fromkeys(
                (PROBABILITIES, LOGITS), (n_keywords,)
            )
        hop, state = info.streaming["hop_samples"], tuple(info.streaming["state_shape"])
        n_frames = max(round(self.call_ms * info.sample_rate / (MS_PER_SECOND * hop)), 1)
        inputs = {INPUT: (n_frames * hop,), STATE: state}
        return inputs, {PROBABILITIES: (n_frames, n_keywords), NEXT_STATE: state}

    def _batch_sizes(self) -> list[int]:
        """Powers of two up to the largest batch.

        Without them Triton prefers the largest alone, and its batcher at times sleeps on for half a second while an
        instance is free.
        """
        powers = [2**i for i in range(self.max_batch_size.bit_length())]
        return sorted({*powers, self.max_batch_size})


def versions_of(folder: Path) -> list[int]:
    """The versions of a model, the oldest first."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal() and int(name) > 0)


def models_in(repository: Path, files: tuple[str, ...]) -> list[str]:
    """The names of the models of a repository whose newest version has one of the files."""
    folders = sorted(repository.iterdir()) if repository.is_dir() else []
    return [
        folder.name
        for folder in folders
        if (versions := versions_of(folder))
        and any((folder / str(versions[-1]) / file).is_file() for file in files)
    ]


def _tensor(name: str, shape: Sequence[int]) -> str:
    # By a label's place in a row of a clip's probabilities a client may ask for the best few.
    labels = f' label_filename: "{LABELS_FILE}"' * (name == PROBABILITIES and len(shape) == 1)
    return f'  {{ name: "{name}" data_type: TYPE_FP32 {_dims(shape)}{labels} }}'


def _dims(shape: Sequence[int]) -> str:
    return f"dims: [ {', '.join(map(str, shape))} ]"


def _warm_up(batch_size: int, inputs: Shapes) -> str:
    values = " ".join(
        f'inputs {{ key: "{name}" value: {{ data_type: TYPE_FP32 {_dims(shape)} zero_data: true }} }}'
        for name, shape in inputs.items()
    )
    return f'  {{ name: "batch of {batch_size}" batch_size: {batch_size} {values} }}'


def _parameter(key: str, value: str) -> str:
    # The escapes of JSON are those of the format too, as long as letters stand as they are.
    text = json.dumps(value, ensure_ascii=False)
    return f'  {{ key: "{key}" value: {{ string_value: {text} }} }}'


def fill_repository(
    model: TritonModel, files: Sequence[Path], engine: Callable[[Path], Any] = OnnxBackend
) -> dict[str, Path]:
    """Put a model file into Triton's repository, its variants and its form for streams under names of their own.

    Args:
        engine: that says what a file says about itself.

    Returns:
        where they lie, by name.
    """
    entries: dict[str, Path] = {}
    for path in files:
        info = engine(path).info
        name = model.stream_name if info.streaming else model.name
        if name in entries:
            name += f"_{info.training['precision']}"
        entries[name] = replace(model, name=name).fill(path, info)
        LOG.info("%s: in the model repository", entries[name])
    return entries
