"""The metadata of an exported keyword spotter.

The metadata of the file is the only place where a program that runs a model learns its labels and
signal path.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from speech_commands_kws.errors import KwsError, check_mapping, check_texts, check_whole

__all__ = ["ModelInfo"]

INPUT = "waveform"
PROBABILITIES = "probabilities"
LOGITS = "logits"
STATE = "state"
NEXT_STATE = "next_state"
# What the detection facts of older files call the share of clips.
OLD_SHARE, SHARE = "false_alarm_rate", "false_alarms_per_clip"
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of a model file.

    Attributes:
        labels: the keywords, in the order of the model's outputs.
        sample_rate: of the waveform it takes, Hz.
        clip_samples: length of that waveform.
        frontend: parameters of the signal path inside the model.
        training: facts about how it was made: run, data fingerprint, commit, accuracy, size, precision.
        detection: how to decide with it: step between windows, and the probability from which on a keyword counts,
            with the shares of keyword clips that it finds (`recall`) and of other clips that it takes for keywords
            (`false_alarms_per_clip`). An hour of sound has thousands of windows, and `operating_points` tells of hours.
        streaming: of a model that takes a stream in pieces: samples of a frame (`hop_samples`), shape of the state
            (`state_shape`), frames that it remembers (`memory_frames`) and averages (`mean_frames`); else nothing.
        detector: settings of the detector of events in its answers.
        operating_points: what its thresholds were measured to miss, and how often to be wrong.
    """

    labels: tuple[str, ...]
    sample_rate: int
    clip_samples: int
    frontend: dict[str, Any]
    training: dict[str, Any]
    detection: dict[str, Any] = field(default_factory=dict)
    streaming: dict[str, Any] = field(default_factory=dict)
    detector: dict[str, Any] = field(default_factory=dict)
    operating_points: dict[str, Any] = field(default_factory=dict)

    @property
    def threshold_note(self) -> str:
        """What the detection threshold finds, in a sentence; nothing where that was not measured."""
        if not {"threshold", "recall", SHARE} <= self.detection.keys():
            return ""
        note = (
            "The detection threshold of {threshold:.1%} finds {recall:.1%} of the keywords in validation clips and "
            "takes {false_alarms_per_clip:.1%} of the other clips for one"
        ).format_map(self.detection)
        if "hop_seconds" not in self.detection:
            return f"{note}."
        windows = SECONDS_PER_HOUR / self.detection["hop_seconds"]
        return f"{note}: of the {windows:,.0f} windows of an hour that would be {windows * self.detection[SHARE]:,.0f}."

    def to_metadata(self) -> dict[str, str]:
        """One JSON text a field, the form that ONNX metadata takes; optional fields that are empty are left out."""
        optional = {entry.name for entry in fields(self) if entry.default_factory is not MISSING}
        return {
            key: json.dumps(value, ensure_ascii=False)
            for key, value in asdict(self).items()
            if value or key not in optional
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str | Path) -> "ModelInfo":
        """Read the metadata back.

        Raises:
            KwsError: `source` carries no such metadata, so that it is not one of our exports, or it
                is malformed.
        """
        present = [entry.name for entry in fields(cls) if entry.name in metadata]
        required = [entry.name for entry in fields(cls) if entry.default_factory is MISSING]
        missing = [name for name in required if name not in present]
        if missing:
            raise KwsError(
                f"{source} is not a keyword spotter exported by this program (no "
                f"{', '.join(missing)} in its metadata)"
                ": export one first"
            )
        try:
            values = {name: json.loads(metadata[name]) for name in present}
            check_texts(labels=values["labels"])
            check_whole(sample_rate=values["sample_rate"], clip_samples=values["clip_samples"])
            for name in present:
                if name not in ("labels", "sample_rate", "clip_samples"):
                    check_mapping(**{name: values[name]})
            detection = values.get("detection", {})
            if OLD_SHARE in detection:
                detection.setdefault(SHARE, detection.pop(OLD_SHARE))
        except (ValueError, RecursionError) as error:  # a number may be too long for Python too
            raise KwsError(f"{source} has malformed metadata ({error}): export it again") from None
        return cls(**values | {"labels": tuple(values["labels"])})
