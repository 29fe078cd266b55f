import numpy as np

from speech_commands_kws.evaluation.metrics import reliability
from speech_commands_kws.figures import calibration

ABOUT = "a corpus, test split: 1,000 clips, accuracy 90.0% (88.0% to 91.7%)"


def test_reliability_bars_have_the_accuracy_of_their_bin(drawn, tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    curve = reliability(probabilities, np.array([0, 1, 0]), bins=5)
    figure = calibration.plot_reliability(curve, 0.4, ABOUT, tmp_path / "a.png")
    above, below = figure.axes
    heights = [bar.get_height() for bar in above.patches]
    np.testing.assert_allclose(heights, [np.nan, np.nan, 1.0, np.nan, 0.5])
    assert [bar.get_height() for bar in below.patches] == [0, 0, 1, 0, 2]
    assert "40.0%" in figure.get_suptitle()
