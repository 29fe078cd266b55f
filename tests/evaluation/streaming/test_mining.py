from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speech_commands_kws.audio.writing import write_wav
from speech_commands_kws.errors import KwsError, SettingError
from speech_commands_kws.evaluation.streaming.mining import (
    TABLE,
    AlarmMiner,
    known_places,
    write_alarms,
)

RATE, HOP = 16_000, 160
LABELS = ("_silence_", "_unknown_", "yes", "no")
SETTINGS = {
    **{"thresholds": {"yes": 0.9, "no": 0.9}, "hysteresis": 0.15, "minimum_ms": 30},
    **{"settle_ms": 80, "refractory_ms": 700, "warm_up_ms": 300},
}


def rows(waveform: np.ndarray) -> np.ndarray:
    """The answers of a model whose "yes" is the mean of a frame where that is positive, "no" where it is negative."""
    frames = waveform[: len(waveform) // HOP * HOP].reshape(-1, HOP).mean(1)
    answers = np.zeros((len(frames), len(LABELS)), np.float32)
    answers[:, 2], answers[:, 3] = frames.clip(min=0), (-frames).clip(min=0)
    return answers


def miner(**changed: object) -> AlarmMiner:
    info = SimpleNamespace(labels=LABELS, detector=SETTINGS, sample_rate=RATE)
    model = SimpleNamespace(info=info, frame_ms=10.0, hop_samples=HOP, rows=rows, model="model")
    given = {"threshold": 0.3, "worst": 10, "before_seconds": 2.0, "after_seconds": 0.5}
    given |= {"block_seconds": 60, "known": {}}
    return AlarmMiner(model, **given | changed)


def sound(seconds: float, alarms: dict[float, float]) -> np.ndarray:
    """Noise of its own at each place, and in 0.2 s that end at these seconds a mean of so much."""
    waveform = np.random.default_rng(0).normal(0, 0.01, round(seconds * RATE))
    for end, height in alarms.items():
        waveform[round((end - 0.2) * RATE) : round(end * RATE)] += np.linspace(
            0, height, round(0.2 * RATE)
        )
    return waveform.astype(np.float32).clip(-1, 1)


def heard(path: Path, waveform: np.ndarray, **changed: object) -> AlarmMiner:
    write_wav(path, waveform, RATE)
    found = miner(**changed)
    found.hear(path)
    return found


def test_the_worst_alarms_are_kept_where_the_keyword_was_most_probable(tmp_path) -> None:
    alarms = {5.0: 0.5, 15.0: -0.8, 25.0: 0.2, 35.0: 0.6}
    waveform = sound(40, alarms)
    found = heard(tmp_path / "one.wav", waveform, worst=2)
    assert found.seconds == 40 and dict(found.alarms) == {"yes": 2, "no": 1}
    assert [(alarm.keyword, alarm.second) for alarm in found.kept] == [
        ("no", pytest.approx(15, abs=0.011)),
        ("yes", pytest.approx(35, abs=0.011)),
    ]
    assert [alarm.score for alarm in found.kept] == pytest.approx([0.8, 0.6], abs=0.03)
    assert found.scores == pytest.approx([0.5, 0.8, 0.6], abs=0.03)
    worst = found.kept[0]
    assert worst.recording == str(tmp_path / "one.wav")
    begin = round((worst.second - 2) * RATE)
    around = waveform[begin : begin + round(2.5 * RATE)]
    assert np.abs(worst.clip / 2**15 - around).max() < 1e-4


def test_the_score_is_that_of_the_whole_word_and_not_of_the_decision(tmp_path) -> None:
    """A decision comes 0.11 s after the threshold; what rises on is worse."""
    waveform = np.zeros(5 * RATE, np.float32)
    waveform[2 * RATE : round(2.5 * RATE)] = np.linspace(0.3, 0.95, round(0.5 * RATE))
    (alarm,) = heard(tmp_path / "one.wav", waveform).kept
    assert alarm.score > 0.9 and alarm.second == pytest.approx(2.5, abs=0.02)


def test_of_alarms_that_share_most_of_their_sound_the_worst_is_kept(tmp_path) -> None:
    found = heard(tmp_path / "one.wav", sound(20, {5.0: 0.5, 6.0: 0.7, 7.0: 0.4, 7.5: 0.6}))
    assert found.alarms["yes"] == 3  # the last one lies within the refractory time
    assert [alarm.second for alarm in found.kept] == pytest.approx([6.0], abs=0.02)


def test_places_are_those_of_the_recording_in_its_later_parts_too(tmp_path) -> None:
    found = heard(tmp_path / "one.wav", sound(50, {5.0: 0.5, 45.0: 0.7}), block_seconds=20)
    assert [alarm.second for alarm in found.kept] == pytest.approx([45.0, 5.0], abs=0.02)
    assert found.seconds == 50


def test_an_alarm_at_either_end_is_kept_as_far_as_there_is_sound(tmp_path) -> None:
    found = heard(tmp_path / "one.wav", sound(10, {1.0: 0.5, 9.9: 0.7}))
    assert [len(alarm.clip) for alarm in found.kept] == pytest.approx(
        [2.1 * RATE, 1.5 * RATE], abs=400
    )


def test_another_round_adds_what_is_new_and_counts_what_is_known(tmp_path) -> None:
    recording, folder = tmp_path / "one.wav", tmp_path / "mined"
    first = heard(recording, sound(40, {5.0: 0.5, 15.0: -0.8}))
    write_alarms(first.kept, folder, RATE)
    assert known_places(folder) == {str(recording): pytest.approx([15.0, 5.0], abs=0.02)}
    (folder / "no_nohash_0.wav").unlink()  # it was the keyword
    again = heard(recording, sound(40, {5.3: 0.9, 15.0: -0.8, 25: 0.4}), known=known_places(folder))
    assert again.alarms.total() == 3
    assert [alarm.second for alarm in again.kept] == pytest.approx([25], abs=0.02)
    write_alarms(again.kept, folder, RATE)
    assert sorted(path.name for path in folder.iterdir()) == [
        TABLE,
        "yes_nohash_0.wav",
        "yes_nohash_1.wav",
    ]
    table = (folder / TABLE).read_text().splitlines()
    assert table[0] == "clip,recording,second,keyword,score" and len(table) == 4
    clip, recorded, second, keyword, score = table[3].split(",")
    assert (clip, recorded, keyword) == ("yes_nohash_1.wav", str(recording), "yes")
    assert float(second) == pytest.approx(25, abs=0.02) and float(score) == round(
        again.kept[0].score, 4
    )
    written, rate = soundfile.read(folder / clip, dtype="int16")
    assert rate == RATE and np.abs(written - again.kept[0].clip).max() <= 1


def test_what_cannot_be_read_is_told_and_passed_over(tmp_path, caplog) -> None:
    (tmp_path / "one.wav").write_text("no sound")
    found = miner()
    found.hear(tmp_path / "one.wav")
    assert found.seconds == 0 and "left out" in caplog.text


def test_a_recording_shorter_than_a_frame_is_heard(tmp_path) -> None:
    assert heard(tmp_path / "one.wav", np.zeros(HOP - 1)).alarms.total() == 0


@pytest.mark.parametrize("text", ["clip,recording\na,b\n", "clip,recording,second\na,b,c\n"])
def test_a_damaged_table_is_one_line(tmp_path, text) -> None:
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(KwsError, match="false_alarms.csv is damaged"):
        known_places(tmp_path)


@pytest.mark.parametrize("mistake", [{"worst": 0}, {"before_seconds": 0}, {"threshold": 0.1}])
def test_a_value_out_of_its_range_is_refused(mistake) -> None:
    with pytest.raises(SettingError, match=next(iter(mistake))):
        miner(**mistake)
