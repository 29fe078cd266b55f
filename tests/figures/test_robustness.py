from speech_commands_kws.figures import robustness


def figures(share):
    return {"accuracy": share, "interval_95": [share - 0.1, share + 0.05]}


FACTS = {
    "clips_of_each": 100,
    "clean": figures(0.9),
    "snr_db": [10, -5],
    "noises": {
        f"noise {i}": {"heard_in_training": False, "by_snr": [figures(0.8), figures(0.1 * i)]}
        for i in range(8)
    },
    "mean_by_snr": [figures(0.8), figures(0.4)],
    "rooms": [{"rt60_seconds": 0.3} | figures(0.7)],
    "levels": [{"gain_db": gain} | figures(share) for gain, share in ((-20, 0.5), (10, 0.8))],
}


def test_every_noise_has_a_line_of_its_own_and_the_mean_its_interval(monkeypatch, tmp_path):
    monkeypatch.setattr(robustness, "save", lambda figure, *_: figure)
    figure = robustness.plot_robustness(FACTS, "about", tmp_path / "a.png")
    by_noise, by_room, by_level = figure.axes
    lines = {line.get_label(): line for line in by_noise.lines}
    assert list(lines["noise 7"].get_ydata()) == [0.9, 0.8, 0.1 * 7]
    assert list(lines["mean, 95% interval"].get_ydata()) == [0.9, 0.8, 0.4]
    colours = {line.get_color() for line in by_noise.lines[:8]}
    assert len(colours) == 8
    assert [tick.get_text() for tick in by_noise.get_xticklabels()] == ["clean", "10 dB", "-5 dB"]
    low_to_high = [segment[:, 1].tolist() for segment in by_noise.collections[0].get_segments()]
    assert low_to_high[-1] == [0.4 - 0.1, 0.4 + 0.05]
    assert list(by_room.lines[0].get_ydata()) == [0.9, 0.7]
    assert list(by_level.lines[0].get_xdata()) == [10, 0, -20]
    assert list(by_level.lines[0].get_ydata()) == [0.8, 0.9, 0.5]


def test_it_becomes_a_png(tmp_path):
    path = robustness.plot_robustness(FACTS, "about", tmp_path / "a.png")
    assert path.stat().st_size > 1000
