import pytest

from speech_commands_kws.data.words import check_words, is_word
from speech_commands_kws.errors import KwsError


@pytest.mark.parametrize(
    "word", ["yes", "o'clock", "turn-on", "hey computer", "Grüße", "да", "हाँ"]
)
def test_words_in_letters_are_words(word):
    assert is_word(word)


@pytest.mark.parametrize(
    "text", ["", " yes", "yes ", "_unknown_", "7", "a/b", "..", "yes!", "-", "a\n", "'"]
)
def test_what_cannot_be_a_folder_or_be_said_is_no_word(text):
    assert not is_word(text)


@pytest.mark.parametrize(
    "words, complaint",
    [
        ("computer", "words must be a list of texts .*, got 'computer'"),
        (["yes", True], "words must be a list of texts .*, got .'yes', True"),
        (["yes", "../no"], r"got '\.\./no'"),
        (["yes", "_silence_"], "got '_silence_'"),
        (
            ["yes", "no", "Yes"],
            "words must name each word once .case does not count., got yes, no, Yes",
        ),
    ],
)
def test_a_wrong_list_is_one_line(words, complaint):
    with pytest.raises(KwsError, match=complaint) as caught:
        check_words(words=words)
    assert "\n" not in str(caught.value)
