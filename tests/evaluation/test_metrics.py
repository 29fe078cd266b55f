import numpy as np
import pytest

from speech_commands_kws.evaluation import metrics

TARGETS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 1, 1])
# Rows: truth. Class 2 is never answered, class 3 has no clips.
CONFUSION = np.array([[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "successes, trials, low, high",
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_the_published_table(successes, trials, low, high):
    assert metrics.wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_stays_within_zero_and_one():
    low, high = metrics.wilson_interval(20, 20)
    assert (low, high) == (pytest.approx(1 - 0.1611, abs=5e-5), 1.0)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_widens_with_z():
    narrow = metrics.wilson_interval(90, 100, z_score=1.0)
    wide = metrics.wilson_interval(90, 100, z_score=3.0)
    assert wide[0] < narrow[0] < 0.9 < narrow[1] < wide[1]


def test_confusion_matrix_counts_truth_in_rows():
    np.testing.assert_array_equal(metrics.confusion_matrix(TARGETS, PREDICTIONS, 4), CONFUSION)


def test_class_scores_of_a_hand_made_matrix():
    scores = metrics.class_scores(CONFUSION)
    np.testing.assert_allclose(scores.precision, [1.0, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1.0, 0.0, np.nan])
    np.testing.assert_allclose(scores.f1, [0.8, 2 / 3, 0.0, np.nan])
    np.testing.assert_array_equal(scores.support, [3, 2, 1, 0])


def test_calibration_error_of_hand_made_answers():
    # Confidences 0.9, 0.9 (one right: gap 0.4) and 0.6 (right: gap 0.4); 0.7 (wrong: gap 0.7).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    curve = metrics.reliability(probabilities, np.array([0, 1, 0, 1]), bins=10)
    np.testing.assert_array_equal(curve.count, [0, 0, 0, 0, 0, 1, 1, 0, 2, 0])
    assert curve.accuracy[8] == 0.5
    assert curve.confidence[8] == pytest.approx(0.9)
    assert np.isnan(curve.accuracy[0])
    assert metrics.expected_calibration_error(curve) == pytest.approx((2 * 0.4 + 0.4 + 0.7) / 4)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_and_one_to_the_last():
    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]])
    curve = metrics.reliability(probabilities, np.array([0, 0]), bins=2)
    np.testing.assert_array_equal(curve.count, [1, 1])


def test_answers_drawn_with_their_own_confidence_are_calibrated():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1.0, 100_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    targets = (generator.uniform(size=confidence.size) > confidence).astype(int)
    assert metrics.expected_calibration_error(metrics.reliability(probabilities, targets)) < 0.01


def test_no_clips_have_no_calibration_error():
    curve = metrics.reliability(np.empty((0, 3)) + np.zeros(3), np.empty(0, dtype=int))
    assert np.isnan(metrics.expected_calibration_error(curve))


def test_log_loss_of_known_probabilities_and_of_an_impossible_answer():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    expected = -(np.log(0.5) + np.log(0.25)) / 2
    assert metrics.log_loss(probabilities, np.array([0, 0])) == pytest.approx(expected)
    assert np.isfinite(metrics.log_loss(np.array([[0.0, 1.0]]), np.array([0])))


def test_worst_clips_come_first_and_equal_ones_in_order():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.2, 0.8]])
    targets = np.array([0, 0, 1, 0])
    np.testing.assert_array_equal(metrics.worst_first(probabilities, targets), [1, 3, 2, 0])


def test_operating_point_allows_so_many_false_alarms() -> None:
    keywords = np.array([False, True, True])
    others = np.linspace(0.1, 0.8, 8)  # the probability of a keyword in eight clips without one
    probabilities = np.stack([1 - others, others, np.zeros(8)], axis=1)
    spoken = np.array([[0.1, 0.9, 0], [0.0, 0.95, 0.05], [0.3, 0.65, 0.05], [0.4, 0.0, 0.6]])
    probabilities = np.concatenate([probabilities, spoken])
    targets = np.array([0] * 8 + [1, 2, 1, 2])
    point = metrics.operating_point(probabilities, targets, keywords, 0.25)
    # Above the third highest lie two of eight; of the keywords the second is heard as another one.
    assert point == pytest.approx((0.6, 0.25, 0.5, 4, 8))
    assert metrics.operating_point(probabilities, targets, keywords, 0.0) == pytest.approx(
        (0.8, 0.0, 0.25, 4, 8)
    )
    assert metrics.operating_point(probabilities[8:], targets[8:], keywords, 0.1) is None
