import os
import threading
import time

import pytest

from speech_commands_kws.errors import KwsError
from speech_commands_kws.files.whole_folder import STALE_SECONDS, make_whole


def test_the_folder_is_there_with_all_that_was_written(tmp_path):
    folder = tmp_path / "data" / "tree"

    make_whole(folder, lambda part: (part / "clip").write_text("sound"))

    assert (folder / "clip").read_text() == "sound"
    assert list(folder.parent.iterdir()) == [folder]


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupted(part):
        (part / "clip").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_whole(tmp_path / "tree", interrupted)

    assert list(tmp_path.iterdir()) == []


def test_of_two_at_once_the_first_stays_and_both_succeed(tmp_path):
    together = threading.Barrier(2)

    def fill(part):
        (part / "clip").write_text("sound")
        together.wait(timeout=10)

    makers = [threading.Thread(target=make_whole, args=(tmp_path / "tree", fill)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()

    assert list(tmp_path.iterdir()) == [tmp_path / "tree"]
    assert (tmp_path / "tree" / "clip").read_text() == "sound"


def test_what_a_killed_process_left_is_removed_but_not_what_one_is_writing(tmp_path):
    stale, fresh, other = (tmp_path / name for name in (".tree.old", ".tree.new", ".else.old"))
    long_ago = time.time() - 2 * STALE_SECONDS
    for part in (stale, fresh, other):
        part.mkdir()
    for part in (stale, other):
        os.utime(part, (long_ago, long_ago))

    make_whole(tmp_path / "tree", lambda part: None)

    assert not stale.exists()
    assert fresh.exists() and other.exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(KwsError, match="cannot write into .*file .*: make it writable"):
        make_whole(tmp_path / "file" / "tree", lambda part: None)
