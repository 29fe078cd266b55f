from pathlib import Path

import pytest
from sweep_results import ACCURACY, result

from speech_commands_kws.sweeps.comparison import TABLE_NAME, show
from speech_commands_kws.sweeps.results import rank, read_results, write_result


def test_the_table_marks_one_best_of_equal_ones_and_only_one_with_a_value(tmp_path, capsys) -> None:
    words = {"1": "[yes,no]", "0": "[go]", "2": "[up]"}
    results = [result(name, None, words=text) for name, text in words.items()]
    show(rank(results, ACCURACY), ACCURACY, tmp_path)
    assert "* best" not in capsys.readouterr().out
    for each in results[::2]:
        each |= {"values": [0.93456], "status": "ok"}
    show(rank(results, ACCURACY), ACCURACY, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    (best,) = [line for line in lines if "* best" in line]
    assert best.split() == ["*", "best", "[yes,no]", "0.9346", "1.2", "1"]


def test_in_a_narrow_terminal_columns_are_left_out_and_the_file_has_all(
    tmp_path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    results = [
        result(str(i), 0.93 + i / 100, **{f"part.setting_{j}": f"{i}.{j}23" for j in range(8)})
        for i in range(2)
    ]
    show(rank(results, ACCURACY), ACCURACY, tmp_path)
    table = capsys.readouterr().out.splitlines()[:-1]
    assert max(map(len, table)) <= 80
    (best,) = [line.split() for line in table if "* best" in line]
    assert best == ["*", "best", *(f"1.{j}23" for j in range(6)), "0.9400", "1"]
    text = (tmp_path / TABLE_NAME).read_text("utf-8")
    assert "1.723" in text and "seconds" in text


def test_a_value_in_brackets_is_shown_and_a_failure_has_its_reason(tmp_path: Path, capsys) -> None:
    write_result(tmp_path / "0", ["words=[yes,no]"], [0.5], "ok", 1.0)
    write_result(tmp_path / "1", ["words=[go]"], None, "KwsError: [bold]no[/bold]", 1.0)
    show(rank(read_results(tmp_path), ACCURACY), ACCURACY, tmp_path)
    for text in (capsys.readouterr().out, (tmp_path / TABLE_NAME).read_text("utf-8")):
        assert "[yes,no]" in text and "1 failed: KwsError: [bold]no[/bold]" in text
