import io

from speech_commands_kws.evaluation.streaming.tables import write_point

MISSES = {
    "words": 40,
    "misses": 6,
    "confusions": 2,
    "miss_rate": 0.15,
    "interval_95": [0.071, 0.291],
}
ALARMS = {
    "alarms": 3,
    "said_or_alike": 8,
    "hours": 6.0,
    "per_hour": 0.5,
    "limit_95": 1.292,
    "interval_95": [0.103, 1.461],
}


def shown(**changed: object) -> list[list[str]]:
    facts = {
        "thresholds": {"yes": 0.97},
        "misses": MISSES,
        "misses_by_condition": {"10 dB": MISSES},
        "misses_by_keyword": {"yes": MISSES},
        "false_alarms": ALARMS,
        "false_alarms_by_kind": {
            "music": ALARMS | {"hours": 0.0, "per_hour": None, "limit_95": None}
        },
        "false_alarms_by_keyword": {"yes": 3},
        "latency_seconds": {"median": 0.151, "p95": 0.384},
    }
    stream = io.StringIO()
    write_point(facts | changed, stream)
    return [line.split("  ") for line in stream.getvalue().splitlines()]


def rows(lines: list[list[str]]) -> list[list[str]]:
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_misses_and_false_alarms_are_shown_with_what_they_rest_on() -> None:
    found = rows(shown())
    missed = ["40", "15.0%", "7.1% to 29.1%", "2"]
    assert ["all words", *missed] in found and ["10 dB", *missed] in found
    assert ["yes", *missed, "0.97", "3"] in found
    assert ["all sound", "6.00", "3", "0.50", "1.29", "8"] in found
    assert ["music", "0.00", "3", "8"] in found
    assert found[-1] == ["decided 151 ms after the end of a word (median), 95% within 384 ms"]


def test_without_a_word_heard_there_is_no_latency() -> None:
    assert "decided" not in str(shown(latency_seconds={"median": None, "p95": None}))


def test_it_says_for_how_much_of_the_sound_a_gate_was_closed() -> None:
    found = shown(gate={"above_db": 6, "closed": {"words": 0.25, "music": 0.0}})
    assert found[-1] == ["the gate was closed for 25.0% of words, 0.0% of music"]
