import numpy as np
import pytest

from speech_commands_kws.evaluation.scoring import ScoredClip
from speech_commands_kws.figures import clips as clip_figures
from speech_commands_kws.figures.style import shorten

FRONTEND = {
    "sample_rate": 16000,
    "window_ms": 30.0,
    "hop_ms": 10.0,
    "n_fft": 512,
    "n_mels": 40,
    "f_min": 20.0,
    "f_max": 7600.0,
    "log_floor": 1e-6,
}
LONG_LABELS = ("computer_assistant", "_unknown_other_words_", 0.001, 0.999)


def tone(hertz):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000).astype(np.float32)


def clip(name, waveform):
    return ScoredClip(waveform, name, "yes", "no", 0.01, 0.98)


def test_a_tone_peaks_in_its_mel_bin_at_zero_decibels():
    decibels = clip_figures.mel_decibels(tone(1000.0), **FRONTEND)
    assert decibels.shape == (40, 101)
    assert decibels.max() == 0.0
    assert decibels.min() >= -80.0
    # Mel of 1000 Hz is 1000, of 20 and 7600 Hz 31.7 and 2787: 14.4 of 41 steps, the 14th filter.
    assert set(decibels[:, 20:80].argmax(axis=0)) == {13}


def test_the_picture_is_what_the_front_end_of_the_model_computes():
    torch = pytest.importorskip("torch")
    from speech_commands_kws.models.frontend import LogMel

    waveform = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    log_mel = LogMel(**FRONTEND)(torch.from_numpy(waveform)[None])[0, 0].numpy()
    decibels = 10 / np.log(10) * (log_mel - log_mel.max())
    inside = slice(2, -2)  # librosa pads the edges with zeros, the model reflects them
    picture = clip_figures.mel_decibels(waveform, **FRONTEND)
    difference = (picture - decibels)[:, inside]
    np.testing.assert_allclose(difference - difference.mean(), 0, atol=1e-2)


def test_every_worst_clip_has_a_panel_that_says_what_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(clip_figures, "save", lambda figure, *_: figure)
    clips = [clip(f"yes/{i}.wav", tone(500.0)) for i in range(4)] + [clip("no/$x$.wav", tone(0.0))]
    figure = clip_figures.plot_worst_clips(clips, FRONTEND, "about", tmp_path / "a.png")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "yes 1.0% → no 98.0%\nyes/0.wav"
    assert titles[4].endswith("no/$x$.wav")
    assert titles[5:] == ["", "", ""]
    assert not figure.axes[5].axison


def test_long_names_and_labels_keep_within_their_panel(monkeypatch, tmp_path):
    """What lies over the right edge of the last panel is cut off."""
    monkeypatch.setattr(clip_figures, "save", lambda figure, *_: figure)
    long = ScoredClip(
        tone(500.0), "_unknown_/marmalade_0123456789abcdef_nohash_0.wav", *LONG_LABELS
    )
    figure = clip_figures.plot_worst_clips([long] * 4, FRONTEND, "about", tmp_path / "a.png")
    figure.draw_without_rendering()
    titles = [axes._left_title.get_window_extent() for axes in figure.axes]
    assert titles[-1].x1 <= figure.bbox.width
    for before, after in zip(titles, titles[1:], strict=False):
        assert before.x1 < after.x0
    assert [axes.get_ylabel() for axes in figure.axes] == ["kHz", "", "", ""]
    assert {axes.get_xlabel() for axes in figure.axes} == {"s"}


def test_a_clip_alone_is_a_png():
    assert clip_figures.mel_png(tone(500.0), FRONTEND).startswith(b"\x89PNG")


def test_worst_clips_become_a_png(tmp_path):
    path = tmp_path / "worst.png"
    assert clip_figures.plot_worst_clips([clip("a", tone(500.0))], FRONTEND, "", path) == path
    assert path.stat().st_size > 1000


def test_a_long_name_keeps_both_ends():
    name = "folder_of_a_speaker/" + 50 * "x" + "_nohash_7.wav"
    short = shorten(name, clip_figures.NAME_CHARACTERS)
    assert len(short) == clip_figures.NAME_CHARACTERS
    assert short.startswith("folder_of_a_speaker") and short.endswith("_nohash_7.wav")
    assert shorten("yes/1.wav", clip_figures.NAME_CHARACTERS) == "yes/1.wav"
