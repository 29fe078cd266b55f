import io

from operating_points import ALARMS, POINT

from speech_commands_kws.evaluation.streaming.tables import write_point


def shown(**changed: object) -> list[list[str]]:
    stream = io.StringIO()
    write_point(POINT | changed, stream)
    return [line.split("  ") for line in stream.getvalue().splitlines()]


def rows(lines: list[list[str]]) -> list[list[str]]:
    return [[cell.strip() for cell in line if cell.strip()] for line in lines]


def test_misses_and_false_alarms_are_shown_with_what_they_rest_on() -> None:
    found = rows(shown())
    missed = ["40", "15.0%", "7.1% to 29.1%", "2"]
    assert ["all words", *missed] in found and ["clean", *missed] in found
    assert ["yes", *missed, "0.97", "3"] in found
    figures = ["3", "0.50", "1.29", "8"]
    assert ["recordings", "6.00", *figures] in found and ["music", "6.00", *figures] in found
    assert ["other words", "1.00", *figures] in found
    assert ["all sound", "7.00", "6", *figures[1:]] in found
    assert found[-1] == ["decided 151 ms after the end of a word (median), 95% within 384 ms"]


def test_sound_of_which_nothing_was_heard_has_no_rate() -> None:
    silent = ALARMS | {"hours": 0.0, "per_hour": None, "limit_95": None}
    assert ["music", "0.00", "3", "8"] in rows(shown(false_alarms_by_kind={"music": silent}))


def test_a_kind_that_alone_is_counted_is_one_row() -> None:
    found = rows(shown(false_alarms=ALARMS | {"sound": "music"}))
    assert [row[:1] for row in found].count(["music"]) == 1


def test_the_sound_of_an_older_model_is_all_of_recordings() -> None:
    found = rows(shown(false_alarms=ALARMS, false_alarms_in_all_sound=None))
    assert [row[1] for row in found if row[:1] == ["all sound"]] == ["6.00"]
    assert all(row[:1] != ["recordings"] for row in found)


def test_without_a_word_heard_there_is_no_latency() -> None:
    assert "decided" not in str(shown(latency_seconds={"median": None, "p95": None}))


def test_it_says_for_how_much_of_the_sound_a_gate_was_closed() -> None:
    found = shown(gate={"above_db": 6, "closed": {"words": 0.25, "music": 0.0}})
    assert found[-1] == ["the gate was closed for 25.0% of words, 0.0% of music"]
