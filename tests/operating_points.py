"""What `Tuning.point` and `kws tune` find, made up."""

from typing import Any

MISSES: dict[str, Any] = {
    "words": 40,
    "misses": 6,
    "confusions": 2,
    "miss_rate": 0.15,
    "interval_95": [0.071, 0.291],
}
ALARMS: dict[str, Any] = {
    "alarms": 3,
    "said_or_alike": 8,
    "hours": 6.0,
    "per_hour": 0.5,
    "limit_95": 1.292,
    "interval_95": [0.103, 1.461],
}
POINT: dict[str, Any] = {
    "split": "validation",
    "wanted_per_hour": 0.5,
    "thresholds": {"yes": 0.97},
    "misses": MISSES,
    "misses_by_condition": {"clean": MISSES, "10 dB": MISSES | {"miss_rate": 0.2}},
    "misses_by_keyword": {"yes": MISSES},
    "false_alarms": ALARMS | {"sound": "recordings"},
    "false_alarms_by_kind": {"music": ALARMS, "other words": ALARMS | {"hours": 1.0}},
    "false_alarms_in_all_sound": ALARMS | {"alarms": 6, "hours": 7.0},
    "false_alarms_by_keyword": {"yes": 3},
    "latency_seconds": {"median": 0.151, "p95": 0.384},
    "curve": [{"threshold": 0.9, "miss_rate": 0.1, "per_hour": 2.5, "limit_95": 3.5}],
}
