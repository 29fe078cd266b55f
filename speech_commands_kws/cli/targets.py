"""The classes and functions that a configuration may name as `_target_`.

Configurations are also read from run folders, which people copy from others. What such a file names is on this list, or
on that of `targets=` on the command line, or it is refused.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TARGETS = (
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.EMAWeightAveraging",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.callbacks.RichProgressBar",
    "lightning.pytorch.callbacks.StochasticWeightAveraging",
    "lightning.pytorch.callbacks.TQDMProgressBar",
    "optuna.pruners.HyperbandPruner",
    "optuna.pruners.MedianPruner",
    "optuna.pruners.PatientPruner",
    "optuna.pruners.PercentilePruner",
    "optuna.pruners.SuccessiveHalvingPruner",
    "optuna.pruners.ThresholdPruner",
    "optuna.pruners.WilcoxonPruner",
    "speech_commands_kws.audio.microphone.Microphone",
    "speech_commands_kws.audio.microphone.MicrophoneStream",
    "speech_commands_kws.audio.takes.TakeCriteria",
    "speech_commands_kws.augment.chain.Chain",
    "speech_commands_kws.augment.channel.BandLimit",
    "speech_commands_kws.augment.channel.BitDepth",
    "speech_commands_kws.augment.channel.MuLaw",
    "speech_commands_kws.augment.level.Babble",
    "speech_commands_kws.augment.level.BackgroundNoise",
    "speech_commands_kws.augment.level.Gain",
    "speech_commands_kws.augment.level.Shift",
    "speech_commands_kws.augment.mixup.Mixup",
    "speech_commands_kws.augment.recipe.NoSpectrogramAugment",
    "speech_commands_kws.augment.recipe.NoWaveformAugment",
    "speech_commands_kws.augment.recipe.ShiftAndNoise",
    "speech_commands_kws.augment.recipe.SpecAugment",
    "speech_commands_kws.augment.reverberation.Reverberation",
    "speech_commands_kws.augment.tempo.Pitch",
    "speech_commands_kws.augment.tempo.Speed",
    "speech_commands_kws.cli.terminal.MaskedFormatter",
    "speech_commands_kws.data.fetch.archives.download_data",
    "speech_commands_kws.data.fetch.debian.DebianCorpora",
    "speech_commands_kws.data.quality.Limits",
    "speech_commands_kws.data.sources.folder.FolderSource",
    "speech_commands_kws.data.sources.mixed.MixedSource",
    "speech_commands_kws.data.sources.synthetic.SyntheticSource",
    "speech_commands_kws.data.synthesis.distinctness.WordCheck",
    "speech_commands_kws.data.synthesis.espeak.EspeakVoices",
    "speech_commands_kws.data.synthesis.flite.FliteVoices",
    "speech_commands_kws.data.synthesis.hibari.HibariVoices",
    "speech_commands_kws.data.synthesis.talk.SyntheticTalk",
    "speech_commands_kws.data.task.Task",
    "speech_commands_kws.evaluation.robustness.Robustness",
    "speech_commands_kws.evaluation.streaming.streams.AmbientStreams",
    "speech_commands_kws.evaluation.streaming.streams.WordStreams",
    "speech_commands_kws.inference.backends.onnx.OnnxBackend",
    "speech_commands_kws.inference.backends.tensorrt.TensorRTBackend",
    "speech_commands_kws.inference.backends.triton.TritonBackend",
    "speech_commands_kws.inference.gate.EnergyGate",
    "speech_commands_kws.models.bc_resnet.BCResNet",
    "speech_commands_kws.models.ds_cnn.DSCNN",
    "speech_commands_kws.models.frontend.LogMel",
    "speech_commands_kws.models.speech_embedding.SpeechEmbeddingNet",
    "speech_commands_kws.models.streaming.StreamingBCResNet",
    "speech_commands_kws.packaging.enrolment.Enrolment",
    "speech_commands_kws.packaging.parity.VariantGate",
    "speech_commands_kws.packaging.quantize.Fp16",
    "speech_commands_kws.packaging.quantize.Int8",
    "speech_commands_kws.packaging.temperature.Temperature",
    "speech_commands_kws.packaging.triton_repository.TritonModel",
    "speech_commands_kws.serving.container.Container",
    "speech_commands_kws.serving.server.TritonServer",
    "speech_commands_kws.serving.supervisor.Supervisor",
    "speech_commands_kws.serving.websocket.WebsocketServer",
    "speech_commands_kws.serving.wyoming.WyomingServer",
    "speech_commands_kws.sweeps.multirun.Multirun",
    "speech_commands_kws.sweeps.pruning.TrialPruning",
    "speech_commands_kws.sweeps.sweeper.StudySweeper",
    "speech_commands_kws.tracking.recording.mlflow_logger",
    "speech_commands_kws.tracking.registry.Gate",
    "speech_commands_kws.tracking.registry_fetch.fetch_model",
    "speech_commands_kws.training.auxiliary.AuxiliaryWords",
    "speech_commands_kws.training.teacher.SpeechEmbedding",
    "speech_commands_kws.training.callbacks.EpochHistory",
    "speech_commands_kws.training.callbacks.EpochProgress",
    "speech_commands_kws.training.callbacks.StepCheckpoint",
    "speech_commands_kws.training.data_parallel.LocalDDP",
    "speech_commands_kws.training.distillation.Distillation",
    "speech_commands_kws.training.schedule.warmup_cosine",
    "speech_commands_kws.training.streams.StreamTraining",
    "torch.optim.Adadelta",
    "torch.optim.Adagrad",
    "torch.optim.Adam",
    "torch.optim.AdamW",
    "torch.optim.Adamax",
    "torch.optim.NAdam",
    "torch.optim.RAdam",
    "torch.optim.RMSprop",
    "torch.optim.SGD",
)
ADDED: ContextVar[tuple[str, ...]] = ContextVar("targets of the command line", default=())


@contextmanager
def adding_targets(patterns: Iterable[str]) -> Iterator[None]:
    """Within it a configuration may also name these, such as `my_voices.*`."""
    token = ADDED.set(tuple(patterns))
    try:
        yield
    finally:
        ADDED.reset(token)


def allowed_targets() -> list[str]:
    return [*TARGETS, *ADDED.get()]
