import numpy as np
import pytest
import soundfile

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.errors import KwsError

RATE = 16_000


def test_wav_files_are_16_bit_mono(tmp_path):
    waveform = np.array([0, 0.5, -1, 1], np.float32)
    write_wav(tmp_path / "yes" / "clip.wav", waveform, RATE)

    info = soundfile.info(tmp_path / "yes" / "clip.wav")
    back, rate = soundfile.read(tmp_path / "yes" / "clip.wav", dtype="int16")
    assert (info.format, info.subtype, info.channels, rate) == ("WAV", "PCM_16", 1, RATE)
    assert back.tolist() == [0, 16384, -32767, 32767]


def test_a_place_that_takes_no_clip_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match="cannot write .*file/a.wav .File exists.: choose another"):
        write_wav(tmp_path / "file" / "a.wav", np.zeros(10), 16_000)
