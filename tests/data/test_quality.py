import numpy as np
import pytest

from speech_commands_kws.data.quality import (
    CLIPPED,
    MISLABELLED,
    OFFSET,
    SAME,
    SAME_SPLITS,
    SAME_WORDS,
    SHORT,
    SILENT,
    Clip,
    Limits,
    disagreements,
    duplicates,
    judge,
    measure,
)

RATE = 16_000
LIMITS = Limits(
    loud_seconds=0.1,
    silent_db=-50,
    short_seconds=0.2,
    clipped_samples=16,
    offset=0.02,
    sure=0.9,
)


def tone(amplitude=0.1, start=0.0, stop=1.0, offset=0.0, hz=440.0) -> np.ndarray:
    time = np.arange(RATE) / RATE
    inside = (start <= time) & (time < stop)
    waveform = (amplitude * np.sin(2 * np.pi * hz * time + 0.1) + offset) * inside
    return (np.clip(waveform, -1, 1) * 32767).astype(np.int16)


def labelled(*samples, words=None, splits=None) -> list[Clip]:
    count = len(samples)
    words, splits = words or ["yes"] * count, splits or ["train"] * count
    return [
        Clip(f"clip{i}.wav", words[i], f"speaker{i}", splits[i], **measure(samples[i], RATE, 0.1))
        for i in range(count)
    ]


def test_measures_are_those_of_each_clip():
    clips = labelled(tone(0.1), tone(0.5, 0.25, 0.75), tone(0, offset=0.1), tone(0))

    assert [clip.level_db for clip in clips] == pytest.approx([-23, -9, -20, -200], abs=0.1)
    assert [clip.seconds for clip in clips] == pytest.approx([1, 0.5, 1, 0], abs=1e-3)
    assert [clip.mean for clip in clips] == pytest.approx([0, 0, 0.1, 0], abs=1e-3)
    assert [clip.at_full_scale for clip in clips] == [0, 0, 0, 0]
    assert len({clip.digest for clip in clips}) == 4


@pytest.mark.parametrize(
    "clip, kind, detail",
    [
        (tone(0.1), None, None),
        (tone(0.003), SILENT, "loudest at -54 dBFS"),
        (tone(0), SILENT, "loudest at -200 dBFS"),
        (tone(0.1, 0.4, 0.55), SHORT, "0.15 s"),
        (tone(0.1, 0.4, 0.65), None, None),
        (tone(1.5), CLIPPED, "samples at full scale"),
        (tone(0.99), None, None),
        (tone(0.1, offset=-0.05), OFFSET, "mean at -5.0% of full scale"),
    ],
)
def test_each_limit_finds_its_clip(clip, kind, detail):
    findings = [finding for one in labelled(tone(0.2), clip) for finding in judge(one, LIMITS)]

    if kind is None:
        assert findings == []
    else:
        (finding,) = findings
        assert (finding.kind, finding.file) == (kind, "clip1.wav")
        assert detail in finding.detail


def test_silence_that_is_meant_is_no_finding():
    clips = labelled(tone(0), tone(0), words=["_silence_", "_silence_"])

    assert list(judge(clips[0], LIMITS)) == []
    assert list(duplicates(clips)) == []


def test_duplicates_name_the_first_and_what_is_worst():
    clips = labelled(
        *(tone(0.1), tone(0.2), tone(0.1), tone(0.1), tone(0.1)),
        words=["yes", "yes", "yes", "yes", "no"],
        splits=["train", "train", "train", "test", "test"],
    )
    findings = list(duplicates(clips))

    assert [(finding.kind, finding.file) for finding in findings] == [
        (SAME, "clip2.wav"),
        (SAME_SPLITS, "clip3.wav"),
        (SAME_WORDS, "clip4.wav"),
    ]
    assert {finding.detail for finding in findings} == {"as clip0.wav (train)"}


def test_a_sure_model_that_disagrees_is_heard():
    """The model takes a clip's loudness for its class; "cat" and "dog" are unknown to it."""
    labels = ["_unknown_", "yes", "no"]
    amplitudes = (0.2, 0.4, 0.4, 0.1, 0.4, 0.4)
    words = ["yes", "no", "yes", "cat", "dog", "yes"]
    sure = [0.95, 0.95, 0.95, 0.95, 0.8, 0.95]

    def score(waveforms):
        classes = np.rint(np.log2(np.abs(waveforms).max(axis=1) / 0.1)).astype(int)
        rows = [np.full(3, (1 - certain) / 2) for certain in sure[score.seen :][: len(classes)]]
        for row, index, certain in zip(rows, classes, sure[score.seen :]):
            row[index] = certain
        score.seen += len(classes)
        return np.array(rows)

    score.seen = 0
    waveforms = np.stack([tone(amplitude) for amplitude in amplitudes]) / 2**15
    clips = labelled(*map(tone, amplitudes), words=words)
    finding, other = disagreements(
        clips, waveforms.__getitem__, labels, score, LIMITS.sure, batch_size=4
    )

    assert (finding.kind, finding.file, finding.word) == (MISLABELLED, "clip2.wav", "yes")
    assert finding.detail == "heard as no (95.0%)"
    assert other.file == "clip5.wav"


def test_words_that_a_model_has_no_class_for_are_passed_over():
    clips = labelled(tone(0.1), words=["cat"])
    found = disagreements(clips, pytest.fail, ["yes", "no"], pytest.fail, 0.9, batch_size=4)
    assert list(found) == []
