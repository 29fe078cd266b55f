import io
from pathlib import Path

from rich.console import Console
from sweep_results import ACCURACY, result

from speech_commands_kws.sweeps.comparison import (
    TABLE_NAME,
    comparison_lines,
    comparison_table,
    fits,
    show,
)
from speech_commands_kws.sweeps.results import rank, read_results, write_result


def test_table_marks_only_a_best_that_has_a_value() -> None:
    def render(results: list[dict]) -> list[str]:
        text = io.StringIO()
        Console(file=text, width=120).print(comparison_table(results, ACCURACY))
        return text.getvalue().splitlines()

    lines = render([result("1", 0.93456, words="[yes,no]"), result("0", None, words="[go]")])
    best = next(line for line in lines if "* best" in line)
    assert [cell.strip() for cell in best.split("│")[1:-1]] == [
        *["* best", "[yes,no]", "0.9346", "1.2", "ok", "1"]
    ]
    assert sum("* best" in line for line in lines) == 1
    assert not any("* best" in line for line in render([result("0", None)]))


def test_a_narrow_terminal_breaks_no_number() -> None:
    results = [
        result(str(i), 0.93 + i / 100, **{f"part.setting_{j}": f"{i}.{j}23" for j in range(8)})
        for i in range(2)
    ]
    narrow = Console(file=io.StringIO(), width=80)
    assert not fits(comparison_table(results, ACCURACY), narrow)
    assert fits(comparison_table(results[:1], ACCURACY), narrow)
    narrow.print(*comparison_lines(rank(results, ACCURACY), ACCURACY), sep="\n")
    lines = narrow.file.getvalue().splitlines()
    assert lines[0].startswith("1 * best: setting_0 1.023, setting_1 1.123, ")
    words = " ".join(lines).replace(",", "").split()
    assert {"0.9400", "0.9300", "setting_7", "0.723", "1.723"} <= set(words)


def test_a_value_in_brackets_is_shown_and_a_failure_has_its_reason(tmp_path: Path, capsys) -> None:
    write_result(tmp_path / "0", ["words=[yes,no]"], [0.5], "ok", 1.0)
    write_result(tmp_path / "1", ["words=[go]"], None, "KwsError: [bold]no[/bold]", 1.0)
    show(rank(read_results(tmp_path), ACCURACY), ACCURACY, tmp_path)
    for text in (capsys.readouterr().out, (tmp_path / TABLE_NAME).read_text("utf-8")):
        assert "[yes,no]" in text and "1 failed: KwsError: [bold]no[/bold]" in text
