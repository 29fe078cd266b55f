import pytest

from speech_commands_kws.figures import calibration, classes, confusion, curves


@pytest.fixture
def drawn(monkeypatch):
    """Figures instead of files: what the functions hand to `save`, with its title."""

    def keep(figure, path, title, about):
        figure.suptitle(f"{title}\n{about}")
        return figure

    for module in (calibration, classes, confusion, curves):
        monkeypatch.setattr(module, "save", keep)
