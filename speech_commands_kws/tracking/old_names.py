"""Where the classes that a saved configuration names lie today, and how they are set: runs outlive the layout."""

from typing import Any

MOVED = {
    "speech_commands_kws.augment.NoSpectrogramAugment": "speech_commands_kws.augment.recipe.NoSpectrogramAugment",
    "speech_commands_kws.augment.NoWaveformAugment": "speech_commands_kws.augment.recipe.NoWaveformAugment",
    "speech_commands_kws.augment.ShiftAndNoise": "speech_commands_kws.augment.recipe.ShiftAndNoise",
    "speech_commands_kws.augment.SpecAugment": "speech_commands_kws.augment.recipe.SpecAugment",
    "speech_commands_kws.data.download.download_data": "speech_commands_kws.data.fetch.archives.download_data",
    "speech_commands_kws.data.mixed.MixedSource": "speech_commands_kws.data.sources.mixed.MixedSource",
    "speech_commands_kws.data.sources.FolderSource": "speech_commands_kws.data.sources.folder.FolderSource",
    "speech_commands_kws.data.synthetic.SyntheticSource": "speech_commands_kws.data.sources.synthetic.SyntheticSource",
    "speech_commands_kws.data_parallel.LocalDDP": "speech_commands_kws.training.data_parallel.LocalDDP",
    "speech_commands_kws.frontend.LogMel": "speech_commands_kws.models.frontend.LogMel",
    "speech_commands_kws.history.EpochHistory": "speech_commands_kws.training.callbacks.EpochHistory",
    "speech_commands_kws.pruning.TrialPruning": "speech_commands_kws.sweeps.pruning.TrialPruning",
    "speech_commands_kws.schedule.warmup_cosine": "speech_commands_kws.training.schedule.warmup_cosine",
    "speech_commands_kws.step_checkpoint.StepCheckpoint": "speech_commands_kws.training.callbacks.StepCheckpoint",
    "speech_commands_kws.tracking.mlflow_logger": "speech_commands_kws.tracking.recording.mlflow_logger",
}


# Of synthetic speech, when espeak-ng was its only engine: a rate in words a minute, and its settings beside all others.
USUAL_RATE = 175
OF_ESPEAK = ("accents", "pitch", "pitch_range", "pitch_jitter")


def renamed(node: Any) -> Any:
    """The same configuration with every old `_target_` and its settings replaced by today's."""
    if isinstance(node, dict):
        node = {
            key: MOVED.get(value, value) if key == "_target_" else renamed(value)
            for key, value in node.items()
        }
        # A number of voices at once is a range too, but has no rate.
        is_old = isinstance(node.get("voices"), list) and "rate" in node
        return with_engines(node) if is_old else node
    return [renamed(value) for value in node] if isinstance(node, list) else node


def with_engines(node: dict[str, Any]) -> dict[str, Any]:
    """Settings of synthetic speech whose `voices` are those of espeak-ng: what is made anew is alike, not the same."""
    espeak = {key: node[key] for key in OF_ESPEAK if key in node}
    target = "speech_commands_kws.data.synthesis.espeak.EspeakVoices"
    today = {
        "voices": {
            "espeak": {"_target_": target, "pitch_jitter": 0, **espeak, "variants": node["voices"]}
        },
        "shares": {"espeak": 1},
        "held_out": None,
        "speed": [rate / USUAL_RATE for rate in node["rate"]],
        "size": [1.0, 1.0],
    }
    if "speakers" not in node:  # synthetic talk
        today["speakers"] = 10 * len(node["voices"])
    if "rate_jitter" in node:
        today["speed_jitter"] = node["rate_jitter"]
    old = {"voices", "rate", "rate_jitter", *OF_ESPEAK} - {"accents"}
    return {key: value for key, value in node.items() if key not in old} | today
