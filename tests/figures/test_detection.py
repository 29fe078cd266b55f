from speech_commands_kws.figures import detection


def missed(words: int, share: float) -> dict:
    return {"words": words, "miss_rate": share}


def alarms(per_hour: float) -> dict:
    return {"alarms": round(2 * per_hour), "hours": 2.0, "per_hour": per_hour}


def of_curve(threshold: float, per_hour: float, clean: float, noisy: float) -> dict:
    by_condition = {"clean": clean, "0 dB": noisy}
    return {
        "threshold": threshold,
        "per_hour": per_hour,
        "miss_rate_by_condition": by_condition,
    }


CURVE = [of_curve(0.9, 0.0, 0.2, 0.8), of_curve(0.5, 300.0, 0.0, 0.3), of_curve(0.7, 9, 0.1, 0.5)]
CHOSEN = {
    "misses_by_condition": {"clean": missed(100, 0.15), "0 dB": missed(100, 0.6)},
    "false_alarms": alarms(0.5),
}


def test_each_condition_has_a_line_and_its_chosen_point(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(detection, "save", lambda figure, *_: figure)
    (axes,) = detection.plot_detection(CURVE, CHOSEN, "about", tmp_path / "a.png").axes
    clean, clean_star, noisy, noisy_star, chosen = axes.lines
    assert (clean.get_label(), noisy.get_label()) == ("clean", "0 dB")
    # From the lowest threshold on; no alarm in two hours is half of one, no miss in 100 words too.
    assert list(clean.get_xdata()) == [300, 9, 0.25]
    assert list(clean.get_ydata()) == [0.005, 0.1, 0.2]
    assert list(noisy.get_ydata()) == [0.3, 0.5, 0.8]
    assert (clean_star.get_xdata(), clean_star.get_ydata()) == ([0.5], [0.15])
    assert noisy_star.get_ydata() == [0.6] and noisy_star.get_color() == noisy.get_color()
    assert chosen.get_label() == "★ chosen thresholds:\n1 in 2.00 h"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_rates_of_less_than_a_decade_have_figures_at_their_axis(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(detection, "save", lambda figure, *_: figure)
    near = [point | {"per_hour": 20 + point["per_hour"] / 10} for point in CURVE]
    figure = detection.plot_detection(
        near, CHOSEN | {"false_alarms": alarms(25)}, "about", tmp_path / "a.png"
    )
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels(which="both")]
    assert "20" in ticks and "50" in ticks
    assert not any("$" in tick for tick in ticks)


def test_it_becomes_a_png(tmp_path) -> None:
    path = detection.plot_detection(CURVE, CHOSEN, "about", tmp_path / "a.png")
    assert path.read_bytes().startswith(b"\x89PNG")
