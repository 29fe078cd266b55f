"""Where the classes that a saved configuration names lie today: runs outlive the layout of this package."""

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


def renamed(node: Any) -> Any:
    """The same configuration with every old `_target_` replaced by today's."""
    if isinstance(node, dict):
        return {
            key: MOVED.get(value, value) if key == "_target_" else renamed(value)
            for key, value in node.items()
        }
    return [renamed(value) for value in node] if isinstance(node, list) else node
