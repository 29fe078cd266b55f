import numpy as np
import pytest

from speech_commands_kws.figures import confusion as picture

PNG = b"\x89PNG\r\n\x1a\n"
TWELVE = "yes no up down left right on off stop go _silence_ _unknown_".split()
THIRTY_FIVE = [f"{word}ward" for word in (*TWELVE, *"abcdefghijklmnopqrstuvw")]
ABOUT = "a corpus, test split: 1,000 clips, accuracy 90.0% (88.0% to 91.7%)"


def random_confusion(classes):
    confusion = np.random.default_rng(0).poisson(0.3, (classes, classes))
    confusion[np.diag_indices(classes)] = 200
    return confusion


def boxes(labels):
    return [label.get_window_extent() for label in labels if label.get_text()]


def overlaps(extents):
    pairs = ((one, other) for i, one in enumerate(extents) for other in extents[:i])
    return sum(one.overlaps(other) for one, other in pairs)


@pytest.mark.parametrize("labels", [TWELVE, THIRTY_FIVE], ids=len)
def test_labels_and_counts_of_the_confusion_matrix_do_not_overlap(drawn, tmp_path, labels):
    figure = picture.plot_confusion(
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
    figure = picture.plot_confusion(confusion, ["a", "b", "c"], ABOUT, tmp_path / "a.png")
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "7", (1, 0): "2", (1, 1): "5"}
    assert ABOUT in figure.get_suptitle()


def test_names_are_text_whatever_they_hold(tmp_path):
    labels = ["$\\frac", "_a_"]
    path = picture.plot_confusion(random_confusion(2), labels, "data at /a$b$c", tmp_path / "a.png")
    assert path.read_bytes().startswith(PNG)


def test_no_figure_is_left_in_pyplots_list(tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()  # of tests that draw by Optuna
    picture.plot_confusion(random_confusion(2), ["a", "b"], ABOUT, tmp_path / "a.png")
    assert pyplot.get_fignums() == before
