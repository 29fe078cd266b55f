from pathlib import Path

from speech_commands_kws.evaluation.streaming.transcripts import words_said

SPELLINGS = {"no": {"no", "know", "но"}, "right": {"right"}}


def said(folder: Path, *names: str) -> list[list[str] | None]:
    paths = [folder / name for name in names]
    found = words_said(folder, paths, SPELLINGS)
    return [found.get(path) for path in paths]


def test_whole_words_of_a_text_are_said(tmp_path: Path) -> None:
    lines = ["; A comment", "a: Know: no number", "b: All right!", "", "c: Но, Right.", "d: north"]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    assert said(tmp_path, "a.wav", "b.ogg", "c.wav", "d.wav", "e.wav") == [
        ["no"],
        ["right"],
        ["no", "right"],
        [],
        [],
    ]


def test_the_longest_end_of_a_path_names_a_recording(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "texts.txt").write_text("one: no\ndigits/one: right\n")
    assert said(tmp_path, "en/digits/one.wav", "en/other/one.wav", "en/digit.wav") == [
        ["right"],
        ["no"],
        [],
    ]


def test_without_texts_nothing_is_said(tmp_path: Path) -> None:
    assert said(tmp_path, "a.wav") == [None]
