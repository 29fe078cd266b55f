"""The number that logits are divided by, on answers whose true probabilities are known."""

import logging

import numpy as np
import pytest
from scipy.special import softmax

from speech_commands_kws.errors import KwsError
from speech_commands_kws.evaluation.metrics import (
    expected_calibration_error,
    log_loss,
    reliability,
)
from speech_commands_kws.packaging.temperature import Temperature, tempered

CLIPS, CLASSES, TOO_SURE = 20_000, 12, 3.0
SETTINGS = {"value": None, "limit": 4, "wrong_clips": 50}


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K), and classes (N,) that are drawn with the probabilities that they stand for."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 4, (CLIPS, CLASSES))
    return logits, (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    return expected_calibration_error(reliability(probabilities, targets))


@pytest.mark.parametrize("factor", [TOO_SURE, 1.0, 0.5])
def test_the_temperature_is_by_how_much_the_answers_are_too_sure(answers, factor) -> None:
    logits, targets = answers
    given = softmax(factor * logits, axis=1).astype(np.float32)
    found = Temperature(**SETTINGS).choose(given, targets)
    assert found == pytest.approx(factor, rel=0.05)
    least = log_loss(tempered(given, found), targets)
    assert least < min(log_loss(tempered(given, found * near), targets) for near in (0.98, 1.02))
    calibrated = tempered(given, found)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), given.argmax(axis=1))
    assert calibration_error(calibrated, targets) < 0.01
    if factor == TOO_SURE:
        assert calibration_error(given, targets) > 0.1


def test_probabilities_are_tempered_as_their_logits_would_be(answers) -> None:
    logits, _ = answers
    given = softmax(logits, axis=1).astype(np.float32)
    np.testing.assert_allclose(tempered(given, 1.7), softmax(logits / 1.7, axis=1), atol=1e-6)
    # A probability of zero is that of a very small number, and no NaN.
    np.testing.assert_allclose(tempered(np.array([[0.0, 1.0]]), 2.0), [[0, 1]], atol=1e-6)


def test_a_fitted_temperature_stays_within_its_limit(answers) -> None:
    logits, targets = answers
    given = softmax(TOO_SURE * logits, axis=1)
    narrow = Temperature(**SETTINGS | {"limit": 2})
    assert narrow.choose(given, targets) == pytest.approx(2, rel=1e-3)


def test_with_few_wrong_answers_it_stays_at_1_and_says_so(answers, caplog) -> None:
    logits, _ = answers
    targets = logits.argmax(axis=1)
    targets[:49] = logits[:49].argmin(axis=1)
    caplog.set_level(logging.INFO)
    assert Temperature(**SETTINGS).choose(softmax(logits, axis=1), targets) == 1
    assert "stays at 1: 49 of 20000 validation clips are answered wrongly, and 50" in caplog.text


def test_a_given_number_is_used_whatever_the_answers(answers) -> None:
    logits, targets = answers
    given = Temperature(**SETTINGS | {"value": 1.5})
    assert given.choose(softmax(logits[:1], axis=1), targets[:1]) == 1.5


@pytest.mark.parametrize(
    "wrong",
    [{"value": 0}, {"value": -1}, {"value": "warm"}, {"limit": 0.5}, {"wrong_clips": 0}],
)
def test_a_bad_setting_is_one_clear_error(wrong) -> None:
    (name,) = wrong
    with pytest.raises(KwsError, match=f"^{name} must be"):
        Temperature(**SETTINGS | wrong)
