import pytest

from speech_commands_kws.assembly.registration import check_words
from speech_commands_kws.errors import KwsError


def test_a_champion_with_other_words_is_no_comparison() -> None:
    check_words(("yes", "no"), ("no", "yes"))
    with pytest.raises(KwsError, match="it knows other words: yes, no, up"):
        check_words(("yes", "no", "up"), ("yes", "no"))
