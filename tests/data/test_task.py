import pytest

from speech_commands_kws.data.task import Task
from speech_commands_kws.errors import KwsError

AVAILABLE = ["yes", "no", "bird", "bird", "tree"]


@pytest.mark.parametrize(
    "task, labels",
    [
        (Task(["yes", "no"], unknown=True, silence=True), ["_silence_", "_unknown_", "yes", "no"]),
        (Task(["yes", "no"], unknown=False, silence=True), ["_silence_", "yes", "no"]),
        (Task(["no", "yes"], unknown=False, silence=False), ["no", "yes"]),
        (Task(None, unknown=True, silence=False), ["bird", "no", "tree", "yes"]),
        (
            Task(["yes", "no", "bird", "tree"], unknown=True, silence=False),
            ["yes", "no", "bird", "tree"],
        ),
    ],
)
def test_labels(task, labels):
    assert task.labels(AVAILABLE) == labels


@pytest.mark.parametrize(
    "words, message",
    [
        (["yes", "stop"], "found none of stop"),
        (["yes", "yes"], "each class once, got yes, yes"),
        (["yes"], "at least two"),
        (["yes", "_silence_"], "found none of _silence_"),
    ],
)
def test_bad_words_are_one_clear_error(words, message):
    with pytest.raises(KwsError, match=message):
        Task(words, unknown=False, silence=False).labels(AVAILABLE)
