"""What the machine does while a run lasts: processor, memory, disk, network, and the GPU where there is one."""

import time
from collections.abc import Callable
from threading import Event, Thread

from speech_commands_kws.cli.passwords import MLFLOW_PASSWORD, with_password
from speech_commands_kws.tracking.mlflow_run import MlflowRun

PREFIX = "system/"


class SystemMetrics:
    """Logs MLflow's system metrics from a thread of its own, until `finish`.

    MLflow's monitor measures; its own thread is not used, since it ends for good when the server is away once. A step
    is a whole second since the run began, so that a resumed run goes on in the same time.

    Args:
        log_metrics: takes metrics and their step.
        record: the run.
        seconds: between two measurements.
    """

    def __init__(
        self,
        log_metrics: Callable[[dict[str, float], int], None],
        record: MlflowRun,
        seconds: float,
    ):
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self.log_metrics, self.seconds = log_metrics, seconds
        self.began = record.began or time.time()
        address = with_password(record.tracking_uri, MLFLOW_PASSWORD)
        self.monitor = SystemMetricsMonitor(record.run_id, tracking_uri=address)
        self.finished = Event()
        self.thread = Thread(target=self._run, name="system metrics", daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Measure once more, so that a short run has a measurement too, and stop."""
        self.finished.set()
        self.thread.join()

    def _run(self) -> None:
        is_last = False
        self._measure()  # the processor's use is since the call before, in the same thread
        while not is_last:
            is_last = self.finished.wait(self.seconds)
            self.log_metrics(*self._measure())

    def _measure(self) -> tuple[dict[str, float], int]:
        self.monitor.collect_metrics()
        metrics = self.monitor.aggregate_metrics()
        for part in self.monitor.monitors:
            part.clear_metrics()
        step = int(time.time() - self.began)
        return {PREFIX + name: value for name, value in metrics.items()}, step
