import time
from threading import active_count
from typing import Any

import pytest

from speech_commands_kws.tracking.mlflow_run import MlflowRun
from speech_commands_kws.tracking.system_metrics import SystemMetrics


class Box(list):
    put = list.append


@pytest.fixture
def box() -> Box:
    return Box()


def record(began: float) -> MlflowRun:
    return MlflowRun("http://127.0.0.1:1", "ab12", began)


def worked(item: dict[str, Any]) -> bool:
    return item["metrics"]["system/cpu_utilization_percentage"] > 0


def test_the_machine_is_measured_every_so_many_seconds(box) -> None:
    before = active_count()
    metrics = SystemMetrics(box, record(time.time() - 100), seconds=0.05)
    deadline = time.monotonic() + 60
    while len(box) < 3 or not any(map(worked, box)):  # which this loop sees to
        assert time.monotonic() < deadline
    metrics.finish()
    n_measured = len(box)
    assert active_count() == before
    time.sleep(0.15)
    assert len(box) == n_measured
    values = box[0]["metrics"]
    assert values["system/system_memory_usage_megabytes"] > 10
    assert all(100 <= item["step"] < 200 for item in box)  # a resumed run goes on where it was


def test_a_short_run_is_measured_once(box) -> None:
    SystemMetrics(box, record(time.time()), seconds=1000).finish()
    (item,) = box
    assert item["step"] == 0 and item["metrics"]["system/disk_usage_percentage"] > 0
