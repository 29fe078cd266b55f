import time

import numpy as np

from speech_commands_kws.packaging.latency import median_latency_ms


def test_the_median_of_the_calls_after_the_warm_up() -> None:
    waits = iter([0.5, 0.002, 0.002, 0.3, 0.002, 0.002])
    asked = []

    def answer(waveform: np.ndarray) -> None:
        asked.append(waveform.shape)
        time.sleep(next(waits))

    assert 2 <= median_latency_ms(answer, np.zeros((1, 8)), repeats=5, warm_up=1) < 30
    assert asked == [(1, 8)] * 6
