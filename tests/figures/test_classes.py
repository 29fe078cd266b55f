import numpy as np

from speech_commands_kws.figures import classes

ABOUT = "a corpus, test split: 1,000 clips, accuracy 90.0% (88.0% to 91.7%)"


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_classes_stand_weakest_first_with_their_figures(drawn, tmp_path):
    confusion = np.array([[9, 1, 0, 0], [5, 5, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    labels = ["good", "fair", "lost", "absent"]
    figure = classes.plot_class_scores(confusion, labels, ABOUT, tmp_path / "a.png")
    axes, columns = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lost", "fair", "good"]
    rows = np.reshape(texts(columns), (-1, 3)).tolist()
    assert rows == [
        ["recall", "precision", "clips"],
        ["0.0%", "–", "2"],
        ["50.0%", "62.5%", "10"],
        ["90.0%", "64.3%", "10"],
    ]
    assert axes.get_xlim() == (0.0, 1.0)


def test_the_axis_of_strong_classes_is_zoomed_to_hold_every_interval(drawn, tmp_path):
    confusion = np.diag([500, 480])
    confusion[1, 0] = 20
    figure = classes.plot_class_scores(confusion, ["a", "b"], ABOUT, tmp_path / "a.png")
    assert figure.axes[0].get_xlim() == (0.9, 1.0)
