import numpy as np

from speech_commands_kws.inference.backends.batches import in_batches


def test_no_batch_is_larger_and_the_order_stays() -> None:
    asked = []

    def score(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(batch))
        return batch, -batch

    waveforms = np.arange(14).reshape(7, 2)
    probabilities, logits = in_batches(score, waveforms, 3)
    assert asked == [3, 3, 1]
    assert (probabilities == waveforms).all() and (logits == -waveforms).all()
