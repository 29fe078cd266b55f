"""What all pictures share, in numbers."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager

from speech_commands_kws.errors import KwsError
from speech_commands_kws.figures.style import glyphs, interval_arms, save, set_fonts


def test_arms_reach_from_the_share_to_the_wilson_interval() -> None:
    """Wilson's interval of 8 hits in 10 trials is 0.4902 to 0.9433."""
    arms = interval_arms(np.array([8, 10]), np.array([10, 10]))
    assert arms[:, 0] == pytest.approx([0.8 - 0.4902, 0.9433 - 0.8], abs=1e-4)
    assert arms[1, 1] == 0


@pytest.mark.parametrize("inches", [4, 7.5, 9])
def test_a_title_keeps_within_its_figure(inches: float, tmp_path: Path) -> None:
    about = "speech_commands, validation split: 4,443 clips, accuracy 85.0% (95% interval 83.9% to 86.0%)"
    figure = Figure(figsize=(inches, 3))
    save(figure, tmp_path / "picture.png", "Confusion matrix", f"{about}\n{100 * '0'}")
    (title,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    assert title.get_window_extent().x1 <= figure.bbox.width


def test_a_figure_is_saved_under_its_wrapped_title(tmp_path: Path) -> None:
    figure = Figure(figsize=(4, 3))
    path = save(figure, tmp_path / "new" / "picture.png", "title", "about " * 20)
    assert path.read_bytes().startswith(b"\x89PNG")
    lines = figure.get_suptitle().splitlines()
    assert lines[0] == "title" and len(lines) == 4


def test_a_place_that_takes_no_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write"):
        save(Figure(), tmp_path / "file" / "picture.png", "title", "")


def test_letters_that_the_usual_font_lacks_are_drawn_by_another(tmp_path: Path) -> None:
    """A letter of STIX, which matplotlib brings along, that its usual font cannot draw."""
    letter = chr(min(glyphs(findfont("STIXGeneral")) - glyphs(findfont(FontProperties()))))
    figure = Figure()
    axes = figure.subplots()
    axes.set_yticks([0, 1], [letter, "yes"])
    path = save(figure, tmp_path / "picture.png", "title", letter)  # a missing glyph would warn
    assert path.stat().st_size
    assert "STIX" in axes.get_yticklabels()[0].get_fontfamily()[-1]


def test_letters_of_no_font_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fontManager, "ttflist", [])
    figure = Figure()
    figure.suptitle("\U0001f9ff")
    set_fonts(figure)
    assert "no font on this machine draws \U0001f9ff: install one" in caplog.text
