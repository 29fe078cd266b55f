import numpy as np
import pytest
import soundfile

from speech_commands_kws.data.labelled_folder import LabelledFolder, label_of_word
from speech_commands_kws.errors import KwsError

RATE = 16_000
LABELS = ["_silence_", "_unknown_", "yes", "no"]


def write(path, seconds=1.0, rate=RATE, level=0.25, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = np.full((round(seconds * rate), channels), level, np.float32)
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "yes/one.wav", level=0.5)
    write(tmp_path / "no/half a second.wav", seconds=0.5)
    write(tmp_path / "bird/stereo.flac", rate=44_100, channels=2)
    write(tmp_path / "_silence_/zeros.wav", level=0.0)
    write(tmp_path / "_background_noise_/hum.wav", seconds=3.0)
    (tmp_path / "yes/text.wav").write_text("not audio")
    return tmp_path


def test_names_targets_and_waveforms_agree(folder):
    clips = LabelledFolder(folder, LABELS, RATE, RATE)
    names = ["_silence_/zeros.wav", "bird/stereo.flac", "no/half a second.wav", "yes/one.wav"]
    assert clips.names == names
    np.testing.assert_array_equal(clips.targets, [0, 1, 3, 2])
    batches = list(clips.batches(3))
    assert [batch.shape for batch in batches] == [(3, RATE), (1, RATE)]
    waveforms = np.concatenate(batches)
    assert waveforms.dtype == np.float32
    np.testing.assert_allclose(waveforms[3], 0.5)
    np.testing.assert_allclose(waveforms[1, 1000:-1000], 0.25, atol=1e-3)
    assert waveforms[2].sum() == pytest.approx(0.25 * RATE / 2)
    assert waveforms[2, 0] == 0


def test_an_unreadable_clip_is_left_out_by_name(folder):
    clips = LabelledFolder(folder, LABELS, RATE, RATE)
    assert len(clips.left_out) == 1
    assert "text.wav" in clips.left_out[0]


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(KwsError, match="expected a folder of <word>/<clip> at input=.*nowhere"):
        LabelledFolder(tmp_path / "nowhere", LABELS, RATE, RATE)


def test_words_that_no_label_stands_for_are_an_error():
    assert label_of_word(["bird", "yes"], LABELS) == {"bird": "_unknown_", "yes": "yes"}
    with pytest.raises(KwsError, match=r"model's words \(yes, no\), got bird: give other clips"):
        label_of_word(["bird", "yes"], ["yes", "no"])
    with pytest.raises(KwsError, match="got bird, cat"):
        label_of_word(["bird", "cat"], LABELS)
