import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.training.streams import Streams, StreamTraining, active_frames

RATE, HOP = 16000, 160
LABELS = ["_silence_", "_unknown_", "yes", "no"]
YES, NO, OTHER = 2, 3, 1


def training(**changed: object) -> StreamTraining:
    settings = {
        "seconds": 3.2,
        "words": 2,
        "keywordless": 0.0,
        "negatives": None,
        "negatives_seconds": None,
        "speech_share": 0.0,
        "speech_snr_db": [10, 10],
        "level_db": [-30, -30],
        "early_seconds": 0.05,
        "late_seconds": 0.3,
        "masked_seconds": 0.75,
        "hard_frames": 3,
        "apart_seconds": 0.3,
        "negative_weight": [1.0, 2.0],
        "sample_rate": RATE,
        "hop_ms": 10,
        "clip_seconds": 1.0,
        "labels": LABELS,
        "cache": "nowhere",
    }
    return StreamTraining(**settings | changed)


def clips(count: int) -> Tensor:
    """Words from 0.3 s to 0.6 s over a floor 40 dB below."""
    waveform = 0.002 * torch.randn(count, RATE, generator=Generator().manual_seed(0))
    time = torch.arange(RATE) / RATE
    waveform[:, 4800:9600] += 0.2 * torch.sin(2 * math.pi * 500 * time[4800:9600])
    return waveform


def composed(streams: StreamTraining, targets: list[int]) -> Streams:
    generator = Generator().manual_seed(1)
    return streams.compose(clips(len(targets)), torch.tensor(targets), generator)


def test_a_word_is_found_by_its_energy() -> None:
    first, last = active_frames(clips(3), HOP)
    assert first.tolist() == [30] * 3 and last.tolist() == [59] * 3


def test_starts_and_ends_are_where_the_words_are() -> None:
    streams = composed(training(), [YES, NO, YES, OTHER])
    assert streams.waveform.shape == (2, 3.2 * RATE)
    assert sorted(streams.targets.flatten().tolist()) == [-1, YES, YES, NO]
    power = streams.waveform.unfold(1, HOP, HOP).square().mean(2)  # (S, F)
    for i in range(2):
        loud = (power[i] > 0.005).nonzero().flatten().tolist()
        expected = [
            frame
            for start, end in zip(streams.starts[i].tolist(), streams.ends[i].tolist())
            for frame in range(start, end + 1)
        ]
        assert loud == expected


def test_further_streams_hold_no_keyword_but_a_fragment_of_one() -> None:
    streams = composed(training(keywordless=0.5, fragment_share=0.4), [YES, NO, YES, NO])
    assert streams.targets.tolist()[2:] == [[-1, -1], [-1, -1]]
    assert (streams.targets[:2] >= 0).all()
    power = streams.waveform.unfold(1, HOP, HOP).square().mean(2) > 0.005
    assert power[2:].sum(1).tolist() == [24, 24]  # of 2 x 30 frames


def test_runs_from_before_the_share_of_a_fragment_was_set_leave_halves() -> None:
    streams = composed(training(keywordless=0.5), [YES, NO, YES, NO])
    power = streams.waveform.unfold(1, HOP, HOP).square().mean(2) > 0.005
    assert power[2:].sum(1).tolist() == [30, 30]


def test_speech_lies_under_the_words_at_the_ratio_asked_for() -> None:
    streams = training(speech_share=1.0)
    streams.speech = torch.full((RATE * 4,), 2**14, dtype=torch.int16)
    with_speech, alone = composed(streams, [YES, NO]), composed(training(), [YES, NO])
    under = (with_speech.waveform - alone.waveform).square().mean()
    assert 10 * torch.log10(alone.waveform.square().mean() / under) == pytest.approx(10, abs=0.1)


def test_streams_without_keywords_are_speech_at_a_level() -> None:
    streams = training(keywordless=0.5)
    streams.speech = torch.full((RATE * 4,), 2**14, dtype=torch.int16)
    quiet = composed(streams, [YES, NO, YES, NO]).waveform[2:, :HOP]
    assert quiet.flatten().tolist() == pytest.approx(
        [10 ** (-30 / 20)] * len(quiet.flatten()), rel=0.2
    )


def logits_for(streams: Streams, frames: int) -> Tensor:
    """(S, K, F) that are sure of `_silence_`, everywhere."""
    logits = torch.zeros(len(streams.targets), len(LABELS), frames)
    logits[:, 0] = 20
    return logits


def one_word() -> Streams:
    place = torch.tensor([[100]]), torch.tensor([[140]])
    return Streams(torch.zeros(1, 51200), torch.tensor([[YES]]), *place)


def loss_of(logits: Tensor, progress: float = 0.0) -> tuple[float, float]:
    scores = training().score(logits, one_word(), progress)
    assert scores.keywords == 1
    return float(scores.missed + scores.false_alarms), float(scores.found)


def answered(frame: int, label: int = YES) -> Tensor:
    """Sure of a keyword in one frame alone."""
    logits = logits_for(one_word(), 320)
    logits[0, label, frame] = 40
    return logits


@pytest.mark.parametrize(
    ("frame", "found", "loss"),
    [(135, 1, 0), (170, 1, 0), (134, 0, 20), (171, 0, 20), (214, 0, 20), (90, 0, 20 + 20 / 3)],
)
def test_an_answer_counts_around_the_end_of_a_word_alone(frame, found, loss) -> None:
    """Before the word it is one of three hardest frames too; within 0.75 s after the end it is not."""
    assert loss_of(answered(frame)) == (pytest.approx(loss, abs=1e-3), found)


def test_the_weight_of_false_alarms_grows() -> None:
    missed = loss_of(answered(90))[0] - 20
    assert loss_of(answered(90), progress=1.0)[0] - 20 == pytest.approx(2 * missed, rel=1e-3)


def test_hard_frames_lie_in_different_stretches() -> None:
    logits = answered(140)
    logits[0, NO, 230:260] = 40  # two stretches of 30 frames: 210 to 239, 240 to 269
    assert loss_of(logits)[0] == pytest.approx(2 * 20 / 3, rel=1e-3)


def test_clips_must_fit() -> None:
    assert training(seconds=2.0).frames == 200
    with pytest.raises(
        SettingError, match="seconds must be at least 2 for 2 clips of 1 s, got 1.9"
    ):
        training(seconds=1.9)
    with pytest.raises(SettingError, match="at least 3 for 2 clips of 1.5 s, got 2.9"):
        training(seconds=2.9, clip_seconds=1.5)


def test_a_hop_that_does_not_divide_a_clip() -> None:
    """The clips of streams without any room to spare end with the stream, or less than a hop before it."""
    streams = training(seconds=2.016, hop_ms=12)
    assert streams.frames == 168
    waveform = composed(streams, [YES, NO]).waveform
    sound = waveform[0].abs() > 0.1
    assert waveform.shape == (1, 168 * 192)
    assert sound.nonzero().max() // 192 == (84 * 192 + 9599) // 192


@pytest.mark.parametrize("targets", [[YES], [YES, NO, YES]])
def test_a_batch_of_fewer_clips_than_words_or_an_odd_one_makes_a_stream(targets) -> None:
    streams = composed(training(), targets)
    assert streams.waveform.shape == (1, 3.2 * RATE) and (streams.targets >= 0).all()
    scores = training().score(logits_for(streams, 320), streams, 0.0)
    assert scores.missed.item() == pytest.approx(20, abs=1e-3)
    assert scores.keywords == 2


def test_without_keywords_nothing_is_missed() -> None:
    streams = composed(training(), [OTHER, OTHER])
    scores = training().score(logits_for(streams, 320), streams, 0.0)
    assert (scores.missed.item(), scores.found.item(), scores.keywords) == (0, 0, 0)


def test_a_short_recording_without_keywords_is_repeated(tmp_path) -> None:
    write_wav(tmp_path / "short.wav", clips(1)[0, :8000].numpy(), RATE)
    streams = training(negatives=str(tmp_path), cache=tmp_path / "packed")
    assert len(streams.speech) == 3.2 * RATE and streams.speech.dtype == torch.int16
    assert torch.equal(streams.speech[:8000], streams.speech[8000:16000])


def test_hours_of_sound_move_to_a_device_and_are_no_buffers(tmp_path) -> None:
    write_wav(tmp_path / "short.wav", clips(1)[0, :8000].numpy(), RATE)
    streams = training(negatives=str(tmp_path), cache=tmp_path / "packed")
    assert sum(buffer.numel() for buffer in streams.buffers()) < 100 < len(streams.speech)
    assert streams.to("meta").speech.device.type == "meta" and streams.alarms.device.type == "meta"


def test_recordings_of_several_folders_of_any_length_are_heard(tmp_path) -> None:
    for name, seconds in (("a", 2), ("b", 660)):
        write_wav(tmp_path / name / "one.wav", np.full(seconds * RATE, 0.25), RATE)
    given = {"negatives": [str(tmp_path / "a"), str(tmp_path / "b")], "cache": tmp_path / "packed"}
    both = training(**given)
    assert len(both.speech) == 662 * RATE
    assert both.speech.unique().tolist() == [8192]
    assert len(training(**given, negatives_seconds=3.0).speech) == 3.2 * RATE


def test_recordings_that_say_a_keyword_are_left_out_where_a_text_tells(tmp_path, caplog) -> None:
    for name, seconds in (("one", 4), ("two", 5), ("three", 6)):
        write_wav(tmp_path / f"talk/{name}.wav", np.full(seconds * RATE, 0.25), RATE)
    (tmp_path / "talk/texts.txt").write_text("one: Say no.\ntwo: I know\nthree: Yes or no\n")
    given = {"negatives": str(tmp_path / "talk"), "cache": tmp_path / "packed"}
    assert len(training(**given).speech) == 15 * RATE
    assert "left out" not in caplog.text
    assert len(training(**given, homophones={}).speech) == 5 * RATE
    assert "left out: 2 recordings that say no (2), yes (1)" in caplog.text
    with pytest.raises(KwsError, match="found none that can be read"):
        training(**given, homophones={"no": ["know"]})


def test_the_fingerprint_is_that_of_what_is_heard(folders) -> None:
    before = training(**folders).fingerprint
    assert training().fingerprint != before == training(**folders).fingerprint
    for name in ("talk", "mined"):
        write_wav(folders["cache"].parent / name / "more.wav", np.full(RATE, 0.25), RATE)
        changed = training(**folders).fingerprint
        assert changed != before
        before = changed


@pytest.fixture
def folders(tmp_path) -> dict[str, object]:
    """Continuous sound at 200 Hz, and false alarms at 1 kHz, one shorter and one longer than a stream."""
    time = torch.arange(8 * RATE) / RATE
    write_wav(tmp_path / "talk/one.wav", (0.3 * torch.sin(2 * math.pi * 200 * time)).numpy(), RATE)
    alarm = (0.1 * torch.sin(2 * math.pi * 1000 * time)).numpy()
    alarm[: 4 * RATE] = 0
    for seconds in (2, 5):
        write_wav(tmp_path / f"mined/{seconds}.wav", alarm[-seconds * RATE :], RATE)
    named = {name: str(tmp_path / name) for name in ("talk", "mined")}
    return {"negatives": named["talk"], "mined": named["mined"], "cache": tmp_path / "packed"}


def test_false_alarms_take_the_place_of_a_part_of_streams_without_words(folders) -> None:
    given = folders | {"keywordless": 0.9, "mined_share": 1.0}
    waveform = composed(training(**given), [YES, NO]).waveform
    assert waveform.shape == (10, 3.2 * RATE)
    spectra = torch.fft.rfft(waveform[1:].unfold(1, 1600, 1600)).abs()  # (S, 32, 10 Hz)
    heard = {hertz: spectra[:, :, hertz // 10] > 40 * 0.1 for hertz in (200, 500, 1000)}
    assert not heard[500].any()  # no words
    seconds = heard[1000].sum(1) / 10
    short = seconds < 2.5
    assert 0 < short.sum() < 9
    assert ((seconds[short] - 2).abs() <= 0.15).all()
    assert ((seconds[~short] - 3.2).abs() <= 0.15).all()
    # As loud as what is around, which goes on before and behind it.
    assert (heard[200] | heard[1000]).all()
    assert ((heard[200].sum(1) / 10)[short] - 1.2).abs().max() <= 0.15
    levels = waveform[1:][short].unfold(1, 1600, 1600).square().mean(2).sqrt()
    assert levels.max() < 1.1 * levels.min()


def test_a_share_of_the_streams_without_a_keyword_has_a_false_alarm(folders) -> None:
    def with_alarms(share: float) -> int:
        streams = training(**folders, keywordless=0.975, mined_share=share)
        waveform = composed(streams, [YES, NO] * 5).waveform
        spectra = torch.fft.rfft(waveform.unfold(1, 1600, 1600)).abs()
        assert not (spectra[:5, :, 100] > 4).any()
        return int((spectra[:, :, 100] > 4).any(1).sum())

    assert with_alarms(0.0) == 0
    assert 20 < with_alarms(0.2) < 60  # of 195


def test_false_alarms_need_sound_to_lie_in(folders) -> None:
    with pytest.raises(SettingError, match="mined needs recordings"):
        training(mined=folders["mined"])


def test_classes_need_one_that_says_that_there_is_no_keyword() -> None:
    with pytest.raises(SettingError, match="labels must have _unknown_ or _silence_"):
        training(labels=["yes", "no"])
    assert training(labels=["_unknown_", "yes"]).is_keyword.tolist() == [False, True]


def test_all_streams_without_a_keyword_are_refused() -> None:
    with pytest.raises(SettingError, match="below 1"):
        training(keywordless=1)
