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


@pytest.mark.parametrize("other", ["Yes", "YES"])
def test_one_word_in_two_spellings_is_refused(other):
    with pytest.raises(KwsError, match="one word in two spellings"):
        Task(["yes", "no"], unknown=True, silence=False).labels([*AVAILABLE, other])
    with pytest.raises(KwsError, match="one word in two spellings"):
        Task(None, unknown=False, silence=False).labels([*AVAILABLE, other])


def test_two_spellings_of_a_letter_are_one_word_and_of_an_unknown_word_no_matter():
    with pytest.raises(KwsError, match=r"'mu.u0308de' and 'm.xfcde' are one word"):
        Task(["m\u00fcde"], unknown=True, silence=False).labels([*AVAILABLE, "mu\u0308de"])
    labels = Task(["yes"], unknown=True, silence=False).labels([*AVAILABLE, "Bird"])
    assert labels == ["_unknown_", "yes"]


def test_one_word_against_silence_is_no_task():
    with pytest.raises(KwsError, match="all speech would be taken for one word.*data=mixed"):
        Task(["yes"], unknown=True, silence=True).labels(["yes"])
