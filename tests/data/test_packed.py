import logging
import os

import numpy as np
import pytest
import soundfile
from tones import SAMPLE_RATE, make_tree, tone

from speech_commands_kws.audio.noise_recordings import find_recordings
from speech_commands_kws.data import packed as packed_module
from speech_commands_kws.data.packed import pack_folder, pack_recordings
from speech_commands_kws.data.speech_tree import SPEECH_COMMANDS_PATTERN
from speech_commands_kws.errors import KwsError


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree", takes=1)


def pack(tree, cache=None):
    return pack_folder(
        tree, SPEECH_COMMANDS_PATTERN, cache or tree.parent / "packed", SAMPLE_RATE, SAMPLE_RATE
    )


def test_packed_clips_are_the_recordings(tree):
    packed = pack(tree)
    assert len(packed.paths) == 16 and packed.clips.shape == (16, SAMPLE_RATE)
    assert [len(noise) for noise in packed.noises.values()] == [5 * SAMPLE_RATE]
    assert not packed.left_out
    for row in (0, 7, 15):
        expected, _ = soundfile.read(tree / packed.paths[row], dtype="float32")
        np.testing.assert_array_equal(packed.waveforms(np.array([row]))[0], expected)


def test_other_rates_channels_and_lengths_are_brought_to_one_form(tree):
    stereo = np.stack([tone("yes", 1, sample_rate=44100)] * 2, axis=1)
    soundfile.write(tree / "yes/eve.flac", stereo, 44100)
    soundfile.write(tree / "yes/fay.wav", tone("yes", 2, seconds=0.5, sample_rate=8000), 8000)
    packed = pack(tree)
    eve, fay = (
        packed.waveforms(np.array([packed.paths.index(f"yes/{name}")]))[0]
        for name in ("eve.flac", "fay.wav")
    )
    spectrum = np.abs(np.fft.rfft(eve))
    assert abs(spectrum.argmax() - 400) < 20
    assert (
        np.abs(fay[: SAMPLE_RATE // 5]).max() == 0 and np.abs(fay[-SAMPLE_RATE // 5 :]).max() == 0
    )
    assert np.abs(fay[SAMPLE_RATE // 2]) + np.abs(fay).max() > 0.1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "clips.int16").write_bytes(b"\0" * 100),
        lambda folder: (folder / "noise.int16").unlink(),
        lambda folder: (folder / "index.json").write_text('{"paths": ['),
        lambda folder: (folder / "index.json").write_text("{}"),
    ],
)
def test_a_damaged_packed_folder_is_one_clear_error(tree, damage):
    pack(tree)
    (folder,) = (tree.parent / "packed").iterdir()
    damage(folder)
    with pytest.raises(KwsError, match=f"{folder} is damaged .*: remove it"):
        pack(tree)


def test_second_opening_packs_nothing(tree, monkeypatch):
    first = pack(tree)
    monkeypatch.setattr(packed_module, "_pack", lambda *arguments: pytest.fail("packed again"))
    again = pack(tree)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.clips, first.clips)


def test_changed_recording_is_packed_again(tree):
    before = pack(tree)
    soundfile.write(tree / "yes/anna_nohash_0.wav", tone("no", 99), SAMPLE_RATE)
    after = pack(tree)
    assert after.fingerprint != before.fingerprint
    row = before.paths.index("yes/anna_nohash_0.wav")
    assert not np.array_equal(before.clips[row], after.clips[row])


def test_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path, tree):
    other = make_tree(tmp_path / "elsewhere" / "copy", takes=1)
    assert pack(other).fingerprint == pack(tree).fingerprint


@pytest.mark.parametrize(
    "name, content",
    [
        ("text.wav", b"this is no sound"),
        ("empty.wav", b""),
        ("silent.wav", None),
    ],
)
def test_unusable_files_are_named_and_left_out(tree, caplog, name, content):
    path = tree / "yes" / name
    if content is None:
        soundfile.write(path, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    else:
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        packed = pack(tree)
    assert len(packed.paths) == 16 and f"yes/{name}" not in packed.paths
    assert len(packed.left_out) == 1 and name in packed.left_out[0]
    assert name in caplog.text and "1 of 18 files" in caplog.text


def test_silence_is_wanted_in_the_folder_of_silence(tree):
    (tree / "_silence_").mkdir()
    soundfile.write(tree / "_silence_/a.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    assert "_silence_/a.wav" in pack(tree).paths


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "tree/yes").mkdir(parents=True)
    (tmp_path / "tree/yes/a.wav").write_bytes(b"x")
    with pytest.raises(KwsError, match="none of 1 files is usable"):
        pack(tmp_path / "tree")


def test_interrupted_packing_leaves_nothing_behind(tree, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(packed_module, "fit_length", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(tree)
    assert list((tree.parent / "packed").iterdir()) == []
    monkeypatch.undo()
    assert len(pack(tree).paths) == 16


def test_links_to_nothing_are_left_out_until_they_lead_somewhere(tree, tmp_path):
    (tree / "yes/link.wav").symlink_to(tmp_path / "later.wav")
    before = pack(tree)
    assert len(before.paths) == 16
    (reason,) = before.left_out
    assert "yes/link.wav does not exist" in reason
    soundfile.write(tmp_path / "later.wav", tone("yes", 5), SAMPLE_RATE)
    assert "yes/link.wav" in pack(tree).paths


def test_names_that_are_not_utf_8_are_named_and_left_out(tree):
    name = os.fsdecode(b"caf\xe9_nohash_0.wav")
    soundfile.write((tree / "yes/cafe.wav"), tone("yes", 5), SAMPLE_RATE)
    (tree / "yes/cafe.wav").rename(tree / "yes" / name)
    (tree / os.fsdecode(b"n\xe9e")).mkdir()
    (tree / "no/anna_nohash_0.wav").rename(tree / os.fsdecode(b"n\xe9e") / "anna_nohash_0.wav")
    packed = pack(tree)
    assert len(packed.paths) == 15 and len(packed.left_out) == 2
    for reason in packed.left_out:
        assert "not UTF-8: rename it" in reason
        reason.encode()
    assert any(r"yes/caf\udce9_nohash_0.wav" in reason for reason in packed.left_out)


def recordings(folder, seconds=None):
    found = find_recordings([folder / "talk", folder / "music"])
    return pack_recordings(found, folder / "packed", SAMPLE_RATE, seconds)


@pytest.fixture
def sounds(tmp_path):
    for name, seconds in (("talk/a", 2), ("talk/b/c", 3), ("music/d", 1)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", tone("yes", seconds, seconds), SAMPLE_RATE)
    return tmp_path


def test_recordings_of_any_length_lie_one_after_the_other(sounds):
    packed = recordings(sounds)
    assert packed.lengths == [seconds * SAMPLE_RATE for seconds in (2, 3, 1)]
    assert packed.samples.dtype == np.int16 and isinstance(packed.samples, np.memmap)
    last, _ = soundfile.read(sounds / "music/d.wav", dtype="int16")
    np.testing.assert_array_equal(packed.samples[-SAMPLE_RATE:], last)
    short = recordings(sounds, seconds=3)
    assert short.lengths == [SAMPLE_RATE] * 3 and short.fingerprint != packed.fingerprint
    # A copy of the part that is written to: the file stays as it is.
    packed.samples[:] = 0
    assert recordings(sounds).samples.any()


def test_recordings_are_packed_once_until_they_change(sounds, monkeypatch):
    with monkeypatch.context() as patch:
        before = recordings(sounds)
        patch.setattr(packed_module, "_pack_recordings", lambda *given: pytest.fail("again"))
        assert recordings(sounds).fingerprint == before.fingerprint
    soundfile.write(sounds / "talk/a.wav", tone("no", 2, 2), SAMPLE_RATE)
    assert recordings(sounds).fingerprint != before.fingerprint


def test_damaged_packed_recordings_are_one_clear_error(sounds):
    recordings(sounds)
    (folder,) = (sounds / "packed").iterdir()
    (folder / "recordings.int16").write_bytes(b"\0" * 100)
    with pytest.raises(KwsError, match=f"{folder} is damaged .*: remove it"):
        recordings(sounds)
