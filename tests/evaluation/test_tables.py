import io

import numpy as np
import pytest

from speech_commands_kws.evaluation import scoring, tables
from speech_commands_kws.evaluation.robustness import BABBLE, cell, mean

PROBABILITIES = [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.9, 0.0], [0.3, 0.6, 0.1]]


def scores_table(title, labels):
    names = [f"word/{i}.wav" for i in range(len(PROBABILITIES))]
    scores = scoring.Scores(labels, names, np.array([0, 1, 1, 0]), np.array(PROBABILITIES))
    facts, stream = scoring.summary(scores, bins=10, worst=1), io.StringIO()
    tables.write_scores(f"{title}: {scoring.headline(facts)}", facts, stream)
    return stream.getvalue()


def test_the_table_shows_headline_classes_and_worst_clips():
    shown = scores_table("fake data", ["yes", "no", "go"])
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "fake data: 4 clips, accuracy 50.0% (95% interval 15.0% to 85.0%)"
    assert lines[1] == "expected calibration error 40.0%, log loss 0.785"
    assert "yes 50.0% 50.0% 50.0% 2" in lines
    assert "go – – – 0" in lines
    assert "word/1.wav no 20.0% yes 70.0%" in lines


def test_names_in_the_table_are_text_not_markup():
    shown = scores_table("[bold]data", ["[red]yes[/red]", "no\x1b[31m", "go"])
    assert "[red]yes[/red]" in shown and "[bold]data" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("heard", [True, False])
def test_robustness_shows_figures_intervals_and_what_training_heard(heard):
    rows = {"low_hum": [cell(8, 8), cell(3, 8)], BABBLE: [cell(7, 8), cell(5, 8)]}
    facts = {
        "clips_of_each": 8,
        "snr_db": [20, -20],
        "clean": cell(19, 20),
        "noises": {
            name: {"heard_in_training": heard and name == "low_hum", "by_snr": row}
            for name, row in rows.items()
        },
        "mean_by_snr": [mean(column, 14) for column in zip(*rows.values())],
        "rooms": [{"rt60_seconds": 0.3} | cell(8, 8)],
        "levels": [{"gain_db": 10} | cell(7, 8), {"gain_db": -20} | cell(1, 8)],
    }
    stream = io.StringIO()
    tables.write_robustness(facts, stream)
    shown = stream.getvalue()
    assert "clean   20 dB  -20 dB" in shown
    assert ("low_hum*" in shown) == heard and f"{BABBLE}*" not in shown
    low_hum = next(line for line in shown.splitlines() if "low_hum" in line)
    assert low_hum.split()[1:] == ["100.0%", "37.5%"]
    low, high = facts["clean"]["interval_95"]
    interval = next(line for line in shown.splitlines() if "95% interval" in line)
    assert interval.split()[2] == f"{100 * low:.0f}–{100 * high:.0f}%"
    heads, row = (line for line in shown.splitlines() if "by level" in line or "louder" in line)
    assert heads.split()[-5:] == ["clean", "+10", "dB", "-20", "dB"]
    assert row.split()[-3:] == ["95.0%", "87.5%", "12.5%"]
    assert "8 clips of words in each noise, room and level" in shown
    assert ("training heard this recording" in shown) == heard
