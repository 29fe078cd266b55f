import numpy as np
import pytest

from speech_commands_kws.evaluation.metrics import reliability
from speech_commands_kws.figures import curves_and_classes

PNG = b"\x89PNG\r\n\x1a\n"
TWELVE = "yes no up down left right on off stop go _silence_ _unknown_".split()
THIRTY_FIVE = [f"{word}ward" for word in (*TWELVE, *"abcdefghijklmnopqrstuvw")]
ABOUT = "a corpus, test split: 1,000 clips, accuracy 90.0% (88.0% to 91.7%)"


def random_confusion(classes):
    confusion = np.random.default_rng(0).poisson(0.3, (classes, classes))
    confusion[np.diag_indices(classes)] = 200
    return confusion


@pytest.fixture
def drawn(monkeypatch):
    """Figures instead of files: what the functions hand to `save`, with its title."""

    def keep(figure, path, title, about):
        figure.suptitle(f"{title}\n{about}")
        return figure

    monkeypatch.setattr(curves_and_classes, "save", keep)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def boxes(labels):
    return [label.get_window_extent() for label in labels if label.get_text()]


def overlaps(extents):
    pairs = ((one, other) for i, one in enumerate(extents) for other in extents[:i])
    return sum(one.overlaps(other) for one, other in pairs)


@pytest.mark.parametrize("labels", [TWELVE, THIRTY_FIVE], ids=len)
def test_labels_and_counts_of_the_confusion_matrix_do_not_overlap(drawn, tmp_path, labels):
    figure = curves_and_classes.plot_confusion(
        random_confusion(len(labels)), labels, ABOUT, tmp_path / "a.png"
    )
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for group in (axes.get_xticklabels(), axes.get_yticklabels(), axes.texts):
        extents = boxes(group)
        assert len(extents) >= len(labels)
        assert overlaps(extents) == 0
    assert [label.get_text() for label in axes.get_yticklabels()] == labels


def test_the_confusion_matrix_writes_every_count_but_zero(drawn, tmp_path):
    confusion = np.array([[7, 2, 0], [0, 5, 0], [0, 0, 0]])
    figure = curves_and_classes.plot_confusion(
        confusion, ["a", "b", "c"], ABOUT, tmp_path / "a.png"
    )
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "7", (1, 0): "2", (1, 1): "5"}
    assert ABOUT in figure.get_suptitle()


def test_classes_stand_weakest_first_with_their_figures(drawn, tmp_path):
    confusion = np.array([[9, 1, 0, 0], [5, 5, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    labels = ["good", "fair", "lost", "absent"]
    figure = curves_and_classes.plot_class_scores(confusion, labels, ABOUT, tmp_path / "a.png")
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
    figure = curves_and_classes.plot_class_scores(confusion, ["a", "b"], ABOUT, tmp_path / "a.png")
    assert figure.axes[0].get_xlim() == (0.9, 1.0)


def test_reliability_bars_have_the_accuracy_of_their_bin(drawn, tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    curve = reliability(probabilities, np.array([0, 1, 0]), bins=5)
    figure = curves_and_classes.plot_reliability(curve, 0.4, ABOUT, tmp_path / "a.png")
    above, below = figure.axes
    heights = [bar.get_height() for bar in above.patches]
    np.testing.assert_allclose(heights, [np.nan, np.nan, 1.0, np.nan, 0.5])
    assert [bar.get_height() for bar in below.patches] == [0, 0, 1, 0, 2]
    assert "40.0%" in figure.get_suptitle()


def test_curves_mark_the_best_validation_epoch(drawn, tmp_path):
    history = [
        {"epoch": 0, "train_loss": 2.0, "validation_loss": 1.5, "validation_accuracy": 0.5},
        {"epoch": 1, "train_loss": 1.0, "validation_loss": 0.5, "validation_accuracy": 0.75},
        {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.75},
    ]
    loss, accuracy = curves_and_classes.plot_curves(history, tmp_path)
    train, validation = loss.axes[0].lines
    np.testing.assert_array_equal(train.get_xydata(), [[1, 2.0], [2, 1.0], [3, 0.5]])
    np.testing.assert_array_equal(validation.get_xydata(), [[1, 1.5], [2, 0.5], [3, 0.75]])
    np.testing.assert_array_equal(loss.axes[0].collections[0].get_offsets(), [[2, 0.5]])
    assert "best 75.0% in epoch 2" in accuracy.get_suptitle()


def test_curves_of_all_figures_are_four_pictures(tmp_path):
    keys = (
        "train_loss",
        "validation_loss",
        "train_accuracy",
        "validation_accuracy",
        "learning_rate",
        "clips_per_second",
    )
    history = [{"epoch": 0, **dict.fromkeys(keys, 0.5)}]
    paths = curves_and_classes.plot_curves(history, tmp_path / "made" / "here")
    assert [path.stem for path in paths] == ["loss", "accuracy", "learning_rate", "throughput"]
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_no_history_draws_nothing(tmp_path):
    assert curves_and_classes.plot_curves([], tmp_path) == []
    assert curves_and_classes.plot_curves([{"epoch": 0}], tmp_path) == []


def test_names_are_text_whatever_they_hold(tmp_path):
    labels = ["$\\frac", "_a_"]
    path = curves_and_classes.plot_confusion(
        random_confusion(2), labels, "data at /a$b$c", tmp_path / "a.png"
    )
    assert path.read_bytes().startswith(PNG)


def test_no_figure_is_left_in_pyplots_list(tmp_path):
    from matplotlib import pyplot

    curves_and_classes.plot_confusion(random_confusion(2), ["a", "b"], ABOUT, tmp_path / "a.png")
    assert pyplot.get_fignums() == []
