"""Values are checked with one line each, and a missing package becomes a line that says what to install."""

import math

import numpy as np
import pytest

from speech_commands_kws.errors import (
    KwsError,
    check_choice,
    check_flag,
    check_number,
    check_positive,
    check_range,
    check_texts,
    check_whole,
    masked,
    missing_package,
    summarize_error,
)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("torch", 'pip install "speech-commands-kws[train]"'),
        ("lightning.pytorch", 'pip install "speech-commands-kws[train]"'),
        ("espeakng_loader", 'pip install "speech-commands-kws[synthetic]"'),
        ("tritonclient.grpc", 'pip install "speech-commands-kws[serve]"'),
        ("G722", 'pip install "speech-commands-kws[corpora]"'),
        ("dvc.api", 'pip install "speech-commands-kws[data]"'),
    ],
)
def test_the_extra_is_named(module: str, command: str) -> None:
    message = str(missing_package(ModuleNotFoundError(name=module)))
    assert message == f"{module.split('.')[0]} is not installed: {command}"


@pytest.mark.parametrize("module", ["speech_commands_kws.nowhere", "hydra", None])
def test_any_other_failing_import_stays_a_bug(module: str | None) -> None:
    error = ModuleNotFoundError(name=module)
    with pytest.raises(ModuleNotFoundError) as caught:
        missing_package(error)
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines,  and room"), "two lines, and room"),
        (ValueError(), "ValueError"),
        (ValueError("1234567 and more, which is too long"), "1234567 and more, w…"),
    ],
)
def test_an_error_is_summarized_in_one_line(error: Exception, line: str) -> None:
    assert summarize_error(error, limit=20) == line


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None, math.nan])
def test_a_whole_number_is_one(value: object) -> None:
    with pytest.raises(ValueError, match="^clips must be a whole number of 1 or more, got "):
        check_whole(rooms=1, clips=value)
    check_whole(0, 5, clips=np.int64(5))


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, None, math.nan, [0.5]])
def test_a_number_lies_within_its_limits(value: object) -> None:
    with pytest.raises(ValueError, match="^share must be a number from 0 to 1, got "):
        check_number(0, 1, share=value)
    check_number(0, 1, share=np.float32(0.5))
    with pytest.raises(ValueError, match="^level must be a number, got inf"):
        check_number(level=math.inf)


@pytest.mark.parametrize("value", [0, -1, math.inf, "1", None])
def test_a_positive_number_is_above_zero(value: object) -> None:
    with pytest.raises(ValueError, match="^lr must be a number above 0, got "):
        check_positive(lr=value)
    check_positive(lr=1e-9)


@pytest.mark.parametrize("value", [[6, -6], [1], [1, 2, 3], 5, "ab", None, [0, "1"], [-1, 1]])
def test_limits_are_two_numbers_in_order(value: object) -> None:
    with pytest.raises(ValueError, match=r"^pitch must be \[lowest, highest\], each a number of 0"):
        check_range(0, pitch=value)
    check_range(0, 6, pitch=(6, 6))


@pytest.mark.parametrize("value", ["no", 0, None])
def test_a_flag_is_true_or_false(value: object) -> None:
    with pytest.raises(ValueError, match="^silence must be true or false, got "):
        check_flag(unknown=True, silence=value)


@pytest.mark.parametrize("value", [[], "no", ["yes", True], None])
def test_words_are_a_list_of_texts(value: object) -> None:
    with pytest.raises(ValueError, match="^words must be a list of texts such as "):
        check_texts(words=value)
    check_texts(words=["no"])


def test_a_choice_is_one_of_those_there_are_and_a_mistake_of_the_user() -> None:
    check_choice(("table", "json"), format="json")
    with pytest.raises(KwsError, match="^format must be one of table, json, got xml$"):
        check_choice(("table", "json"), format="xml")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "http://anna:p@ss:1@host/a and mysql://b:x/y@h",
            "http://anna:***@host/a and mysql://b:***@h",
        ),
        ("http://anna@b.org:p@host/a", "http://anna@b.org:***@host/a"),
        (
            "http://:p@host, mysql://b/c?password=x&d",
            "http://:***@host, mysql://b/c?password=***&d",
        ),
        ("no http://host:8080/a@b, no sqlite:////a:b@c", None),
    ],
)
def test_passwords_of_addresses_are_not_shown(text, shown):
    assert masked(text) == summarize_error(text) == (shown or text)
