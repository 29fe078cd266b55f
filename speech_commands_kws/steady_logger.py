"""Lightning's MLflow logger for long trainings: a store that stops answering costs its metrics, not the training."""

from collections.abc import Mapping

from lightning.pytorch.loggers import MLFlowLogger

from speech_commands_kws.mlflow_store import outage_reported


class SteadyMLFlowLogger(MLFlowLogger):
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with outage_reported(f"the metrics of step {step}"):
            super().log_metrics(metrics, step)

    def finalize(self, status: str = "success") -> None:
        with outage_reported("the end of the run"):
            super().finalize(status)
