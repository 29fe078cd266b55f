import numpy as np

from speech_commands_kws.figures import curves

PNG = b"\x89PNG\r\n\x1a\n"


def test_curves_mark_the_best_validation_epoch(drawn, tmp_path):
    history = [
        {"epoch": 0, "train_loss": 2.0, "validation_loss": 1.5, "validation_accuracy": 0.5},
        {"epoch": 1, "train_loss": 1.0, "validation_loss": 0.5, "validation_accuracy": 0.75},
        {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.75},
    ]
    loss, accuracy = curves.plot_curves(history, tmp_path)
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
    paths = curves.plot_curves(history, tmp_path / "made" / "here")
    assert [path.stem for path in paths] == ["loss", "accuracy", "learning_rate", "throughput"]
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_no_history_draws_nothing(tmp_path):
    assert curves.plot_curves([], tmp_path) == []
    assert curves.plot_curves([{"epoch": 0}], tmp_path) == []
