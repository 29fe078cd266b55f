import time
from threading import active_count

import pytest

from speech_commands_kws.tracking.mlflow_run import MlflowRun
from speech_commands_kws.tracking.system_metrics import SystemMetrics


class Box(list):
    """Metrics with their steps."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.append((metrics, step))


@pytest.fixture
def box() -> Box:
    return Box()


def record(began: float) -> MlflowRun:
    return MlflowRun("http://127.0.0.1:1", "ab12", began)


def worked(logged: tuple[dict[str, float], int]) -> bool:
    return logged[0]["system/cpu_utilization_percentage"] > 0


def test_the_machine_is_measured_every_so_many_seconds(box) -> None:
    before = active_count()
    metrics = SystemMetrics(box.log_metrics, record(time.time() - 100), seconds=0.05)
    deadline = time.monotonic() + 60
    while len(box) < 3 or not any(map(worked, box)):  # which this loop sees to
        assert time.monotonic() < deadline
    metrics.finish()
    n_measured = len(box)
    assert active_count() == before
    time.sleep(0.15)
    assert len(box) == n_measured
    values, _ = box[0]
    assert values["system/system_memory_usage_megabytes"] > 10
    assert all(100 <= step < 200 for _, step in box)  # a resumed run goes on where it was


def test_a_short_run_is_measured_once(box) -> None:
    SystemMetrics(box.log_metrics, record(time.time()), seconds=1000).finish()
    ((metrics, step),) = box
    assert step == 0 and metrics["system/disk_usage_percentage"] > 0
