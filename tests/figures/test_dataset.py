from speech_commands_kws.data.quality import Clip, Report
from speech_commands_kws.figures import dataset
from speech_commands_kws.figures.dataset import MOST_WORDS, plot_report


def drawn(monkeypatch, tmp_path, counts):
    """The axes of a data set with so many clips of each word in each split."""
    figures = []

    def keep(figure, path, title, about):
        figures.append(figure)
        return path

    monkeypatch.setattr(dataset, "save", keep)
    levels = {"train": -20.0, "validation": -30.0, "test": -200.0}
    clips = [
        Clip("", word, "", split, levels[split], 1.0, 0, 0.0, b"")
        for word, row in counts.items()
        for split, count in row.items()
        for _ in range(count)
    ]
    plot_report(Report(clips, []), -50, "a", tmp_path / "x.png")
    return figures[0].axes


def test_bars_are_as_long_as_there_are_clips_and_the_fullest_word_is_on_top(monkeypatch, tmp_path):
    counts = {
        "no": {"train": 1, "validation": 2, "test": 0},
        "yes": {"train": 5, "validation": 0, "test": 1},
    }
    bars, levels = drawn(monkeypatch, tmp_path, counts)

    assert [label.get_text() for label in bars.get_yticklabels()] == ["yes", "no"]
    assert [patch.get_width() for patch in bars.patches] == [5, 1, 0, 2, 1, 0]
    assert [patch.get_x() for patch in bars.patches] == [0, 0, 5, 1, 5, 3]
    assert bars.yaxis_inverted()
    assert levels.get_legend_handles_labels()[1] == ["train", "validation", "test", "silent below"]
    assert sum(patch.get_height() > 0 for patch in levels.patches) >= 3


def test_of_many_words_the_rare_ones_are_shown(monkeypatch, tmp_path):
    counts = {
        f"word{i}": {"train": i, "validation": 0, "test": 0} for i in range(1, MOST_WORDS + 11)
    }
    bars, _ = drawn(monkeypatch, tmp_path, counts)

    shown = [label.get_text() for label in bars.get_yticklabels()]
    assert len(shown) == MOST_WORDS and shown[-1] == "word1" and "word70" not in shown
    assert "60 of 70 words" in bars.get_title()
