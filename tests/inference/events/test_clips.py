from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.detector import Detector, Event
from speech_commands_kws.inference.events.clips import EventClips

RATE = 16_000
LABELS = ("_silence_", "_unknown_", "yes", "no")
SETTINGS = {
    **{"hysteresis": 0.15, "minimum_ms": 30, "settle_ms": 80},
    **{"refractory_ms": 700, "warm_up_ms": 300},
}


def listener() -> SimpleNamespace:
    """What the clips take of a listener; its scores are those of `rows`."""
    return SimpleNamespace(
        labels=LABELS,
        model=SimpleNamespace(
            frame_ms=10.0, info=SimpleNamespace(sample_rate=RATE, clip_samples=RATE)
        ),
        detector=Detector(LABELS, 10.0, {"yes": 0.8, "no": 0.8}, **SETTINGS),
        call_samples=1600,
        rows=[],
    )


def ramp(seconds: float) -> np.ndarray:
    """Each second has a level of its own."""
    return (np.arange(round(seconds * RATE)) / RATE / 100).astype(np.float32)


def hear(clips: EventClips, sound: np.ndarray, events: dict[int, Event], chunk: int) -> None:
    """`events` by the chunk in which they are decided."""
    for i, start in enumerate(range(0, len(sound), chunk)):
        clips.hear(sound[start : start + chunk], [events[i]] if i in events else [])
    clips.close()


def kept(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))


@pytest.mark.parametrize("chunk", [800, 16_000, 7_001])
def test_the_second_around_an_event_is_kept(tmp_path: Path, chunk: int) -> None:
    decided = 6 * RATE // chunk
    hear(
        EventClips(tmp_path, listener(), "kitchen"),
        ramp(10),
        {decided: Event("yes", 6.0, 0.9, 5.75)},
        chunk,
    )
    assert kept(tmp_path) == ["yes/kitchen_nohash_0.wav"]
    clip, rate = soundfile.read(tmp_path / "yes/kitchen_nohash_0.wav", dtype="float32")
    assert rate == RATE and len(clip) == RATE
    expected = ramp(10)[round(4.9 * RATE) : round(5.9 * RATE)]
    assert np.abs(clip - expected).max() < 1e-4


def test_numbers_go_on_and_an_event_at_the_end_is_kept_too(tmp_path: Path) -> None:
    for _ in range(2):
        hear(EventClips(tmp_path, listener(), "a"), ramp(3), {2: Event("no", 3, 0.9, 2.95)}, RATE)
    assert kept(tmp_path) == ["no/a_nohash_0.wav", "no/a_nohash_1.wav"]
    clip, _ = soundfile.read(tmp_path / "no/a_nohash_0.wav", dtype="float32")
    assert len(clip) == RATE and clip[-1] == pytest.approx(ramp(3)[-1], abs=1e-4)


def test_an_event_at_the_beginning_is_kept_as_far_as_there_is_sound(tmp_path: Path) -> None:
    hear(EventClips(tmp_path, listener(), "a"), ramp(3), {0: Event("no", 0.6, 0.9, 0.5)}, RATE)
    clip, _ = soundfile.read(tmp_path / "no/a_nohash_0.wav", dtype="float32")
    assert len(clip) == round(0.65 * RATE)


def test_memory_stays_the_same(tmp_path: Path) -> None:
    clips = EventClips(tmp_path, listener(), "a", near_miss=0.5)
    for i in range(2_000):
        clips.hear(np.zeros(1600, np.float32), [Event("yes", i / 10, 0.9, i / 10)] * (i % 500 == 9))
    assert len(clips.sound) < 4 * RATE and len(clips.kept) + len(clips.events) <= 1


def test_near_misses_are_kept_apart_unless_they_are_events(tmp_path: Path) -> None:
    ears = listener()
    clips = EventClips(tmp_path, ears, "a", near_miss=0.5)
    scores = np.zeros((2_000, 4), np.float32)
    scores[500:520, 2] = 0.7  # a near miss at 5 s
    scores[1200:1230, 3] = 0.6  # the beginning of an event
    scores[1230:1250, 3] = 0.9
    for i in range(200):
        ears.rows = [scores[10 * i : 10 * i + 10]]
        events = ears.detector(ears.rows[0])
        clips.hear(ramp(20)[1600 * i : 1600 * i + 1600], events)
    clips.close()
    assert kept(tmp_path) == ["near_misses/yes/a_nohash_0.wav", "no/a_nohash_0.wav"]
    clip, _ = soundfile.read(tmp_path / "near_misses/yes/a_nohash_0.wav", dtype="float32")
    assert np.abs(clip - ramp(20)[round(4.15 * RATE) : round(5.15 * RATE)]).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "near_miss", "complaint"),
    [("a/b", None, "speaker"), ("a", 2, "near_miss must be"), ("a", 0.1, "must be above")],
)
def test_mistakes_are_one_line(tmp_path: Path, name: str, near_miss, complaint: str) -> None:
    with pytest.raises(KwsError, match=complaint):
        EventClips(tmp_path, listener(), name, near_miss)
