from pathlib import Path

from speech_commands_kws.evaluation.streaming.transcripts import (
    spellings_of,
    without_keywords,
    words_said,
)

SPELLINGS = spellings_of(["no", "Right"], {"no": ["know", "но"], "go": ["goh"]})


def said(folder: Path, *names: str) -> list[list[str] | None]:
    paths = [folder / name for name in names]
    found = words_said(folder, paths, SPELLINGS)
    return [found.get(path) for path in paths]


def test_whole_words_of_a_text_are_said(tmp_path: Path) -> None:
    lines = ["; A comment", "a: Know: no number", "b: All right!", "", "c: Но, Right.", "d: north"]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    assert said(tmp_path, "a.wav", "b.ogg", "c.wav", "d.wav", "e.wav") == [
        ["no"],
        ["Right"],
        ["no", "Right"],
        [],
        [],
    ]


def test_the_longest_end_of_a_path_names_a_recording(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "texts.txt").write_text("one: no\ndigits/one: right\n")
    assert said(tmp_path, "en/digits/one.wav", "en/other/one.wav", "en/digit.wav") == [
        ["Right"],
        ["no"],
        [],
    ]


def test_without_texts_nothing_is_said(tmp_path: Path) -> None:
    assert said(tmp_path, "a.wav") == [None]


def test_the_text_that_lies_nearest_to_a_recording_is_its_own(tmp_path: Path) -> None:
    for language, text in {"es": "one: no", "fr": "one: right", "it": "two: no"}.items():
        (tmp_path / language / "doc").mkdir(parents=True)
        (tmp_path / language / "doc" / "texts.txt").write_text(text)
    assert said(tmp_path, "es/wav/one.wav", "fr/wav/one.wav") == [["no"], ["Right"]]
    # Of two that are as near, either may be meant.
    assert said(tmp_path, "one.wav") == [["no", "Right"]]


def test_what_says_a_keyword_is_left_out_and_counted(tmp_path: Path, caplog) -> None:
    names = ("one", "two", "three", "four")
    one, two, three, four = (tmp_path / f"{name}.wav" for name in names)
    (tmp_path / "texts.txt").write_text("one: No, know\ntwo: north\nthree: no right\n")
    assert without_keywords({tmp_path: [one, two, three, four]}, SPELLINGS) == {
        tmp_path: [two, four]
    }
    assert caplog.messages == ["left out: 2 recordings that say no (2), Right (1)"]
    caplog.clear()
    assert without_keywords({tmp_path: [two, four]}, SPELLINGS) == {tmp_path: [two, four]}
    assert caplog.messages == []
