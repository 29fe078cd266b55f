import csv
import io
import json
from pathlib import Path

import pytest
import soundfile


@pytest.fixture
def recordings(tmp_path, burst_wav) -> Path:
    """ann (training) and bob (validation) say yes and no; with a copy, a mislabelled clip and a broken file."""
    for word in ("yes", "no"):
        for k in range(2):
            burst_wav(f"recordings/{word}/ann_nohash_{k}.wav", word, 16_000 + 4_000 * k)
    burst_wav("recordings/yes/bob_nohash_0.wav", "yes", 22_050)
    burst_wav("recordings/no/bob_nohash_0.wav", "yes", 44_100)  # says yes
    first = tmp_path / "recordings/yes/ann_nohash_0.wav"
    (tmp_path / "recordings/yes/bob_nohash_7.wav").write_bytes(first.read_bytes())
    (tmp_path / "recordings/no/ann_nohash_9.wav").write_bytes(b"no sound")
    return tmp_path / "recordings"


@pytest.fixture
def check(recordings, tmp_path, monkeypatch, type_kws):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        given = ["data=folder", f"data.root={recordings}", "data.validation_speakers=[bob]"]
        return type_kws("check-data", *given, *arguments)

    return run


def test_the_report_counts_and_names(check, tiny_onnx):
    done = check("format=json", f"model={tiny_onnx}", "limits.sure=0.6")
    report = json.loads(done.out)

    assert done.status == 0
    assert (report["clips"], report["speakers"]) == (7, 2)
    assert report["words"] == {
        "no": {"train": 2, "validation": 1, "test": 0, "speakers": 2},
        "yes": {"train": 2, "validation": 2, "test": 0, "speakers": 2},
    }
    assert report["counts"] == {"unusable": 1, "duplicate in another split": 1, "mislabelled?": 1}
    unusable, copy, mislabelled = report["findings"]
    assert "ann_nohash_9.wav is not a sound file" in unusable["detail"]
    assert copy | {"detail": ""} == {
        "kind": "duplicate in another split",
        "file": "yes/bob_nohash_7.wav",
        "word": "yes",
        "split": "validation",
        "detail": "",
    }
    assert copy["detail"] == "as yes/ann_nohash_0.wav (train)"
    assert mislabelled["file"] == "no/bob_nohash_0.wav"
    assert mislabelled["detail"].startswith("heard as yes")


def test_a_word_in_two_spellings_is_a_finding(check, burst_wav):
    burst_wav("recordings/Yes/cleo_nohash_0.wav", "no", 16_000)
    (found,) = (
        row
        for row in csv.DictReader(io.StringIO(check("format=csv").out))
        if row["kind"] == "word in two spellings"
    )
    assert (found["word"], found["detail"].split(":")[0]) == ("yes", "'Yes' and 'yes'")


def test_csv_names_every_finding(check):
    rows = list(csv.DictReader(io.StringIO(check("format=csv").out)))
    assert [row["kind"] for row in rows] == ["unusable", "duplicate in another split"]


def test_a_table_is_for_reading(check):
    lines = [line.split() for line in check().out.splitlines()]

    assert ["yes", "2", "2", "0", "2"] in lines
    assert ["word", "train", "validation", "test", "speakers"] in lines
    assert any(
        line[:6] == ["duplicate", "in", "another", "split", "1", "yes/bob_nohash_7.wav"]
        for line in lines
    )


def test_nothing_is_changed(check, recordings):
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in recordings.rglob("*.wav")
    }
    check()
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in recordings.rglob("*.*")}
    assert after == before


def test_recordings_longer_than_a_clip_are_named(check, recordings):
    tone = [0.1, -0.1] * 12_000
    soundfile.write(recordings / "yes" / "ann_nohash_5.wav", tone, 16_000)
    rows = csv.DictReader(io.StringIO(check("format=csv").out))
    (long,) = [row for row in rows if row["kind"] == "longer than a clip"]
    assert (long["file"], long["split"]) == ("yes/ann_nohash_5.wav", "train")
    assert long["detail"] == "1.50 s, cut to its loudest 1 s"


def test_the_table_says_what_is_missing_and_used(check):
    told = check().out
    assert "no clip for test: record more speakers, or name who is held out" in told
    assert (
        "of the words that are not keywords, all together, training and evaluation use as many"
        in told
    )
    told = check("data.test_speakers=[ann]").out
    assert "no clip for train: record more speakers" in told


def test_limits_are_settings(check):
    report = json.loads(check("format=json", "limits.silent_db=-3").out)
    assert report["counts"]["silent"] == 7


def test_clean_recordings_have_nothing_to_look_at(check, recordings):
    (recordings / "yes/bob_nohash_7.wav").unlink()
    (recordings / "no/ann_nohash_9.wav").unlink()
    assert "nothing to look at" in check().out


def test_a_picture_is_drawn(check, tmp_path):
    check("picture=pictures/check.png")
    assert (tmp_path / "pictures" / "check.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_of_another_clip_is_refused(check, tiny_onnx):
    done = check(f"model={tiny_onnx}", "clip_seconds=2")
    assert (done.status, done.out) == (1, "")
    assert "takes 1 s at 16000 Hz: set clip_seconds and sample_rate to that" in done.err


def test_a_clip_of_silence_is_named(check, recordings):
    soundfile.write(recordings / "yes" / "ann_nohash_5.wav", [1e-4] * 16_000, 16_000)
    report = json.loads(check("format=json").out)
    (silent,) = [finding for finding in report["findings"] if finding["kind"] == "silent"]
    assert silent["file"] == "yes/ann_nohash_5.wav"


@pytest.mark.parametrize(
    "argument, complaint",
    [
        ("picture=check.xyz", "picture must be a file .png or .svg or .pdf, got 'check.xyz'"),
        ("limits.sure=2", "limits.sure must be a number from 0 to 1, got 2"),
        ("format=xml", "format must be one of table, json, csv, got xml"),
        ("data.root=nowhere", "expected a folder of recordings at data.root=nowhere"),
    ],
)
def test_mistakes_are_one_line(check, argument, complaint):
    done = check(argument)
    assert done.status == 1 and done.err.startswith(f"error: {complaint}")
    assert done.err.count("\n") == 1
