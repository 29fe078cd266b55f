import numpy as np
from conftest import FRONTEND, SAMPLE_RATE

from speech_commands_kws.evaluation.scoring import ScoredClip, Scores
from speech_commands_kws.figures.evaluation import draw


def test_four_pictures_are_drawn(tmp_path):
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.9, 0.0]])
    names = ["0.wav", "1.wav", "2.wav"]
    scores = Scores(["yes", "no", "go"], names, np.array([0, 1, 1]), probabilities)
    tone = np.sin(np.arange(SAMPLE_RATE)).astype(np.float32)
    worst = [ScoredClip(tone, "1.wav", "no", "yes", 0.2, 0.7)]
    paths = draw(scores, worst, FRONTEND, "fake data", 10, tmp_path / "pictures")
    assert [path.stem for path in paths] == ["confusion", "classes", "calibration", "worst_clips"]
    assert all(path.stat().st_size for path in paths)
    assert len(draw(scores, [], FRONTEND, "fake data", 10, tmp_path / "pictures")) == 3
    assert not (tmp_path / "pictures/worst_clips.png").exists(), "of an evaluation before"
