"""A report is one page: everything is in it, nothing is fetched, and names are text."""

import io
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE
from operating_points import POINT

from speech_commands_kws.evaluation import scoring
from speech_commands_kws.evaluation.scoring import ScoredClip, Scores
from speech_commands_kws.figures import report
from speech_commands_kws.figures.report import SHOWN, HeardClip, write_report

HOSTILE = '<script>alert("no")</script> & yes'
CELL = {"accuracy": 0.75, "interval_95": [0.6, 0.9]}
ROBUSTNESS = {
    "clips_of_each": 40,
    "clean": CELL,
    "snr_db": [20, 0],
    "noises": {HOSTILE: {"heard_in_training": True, "by_snr": [CELL, CELL]}},
    "mean_by_snr": [CELL, CELL | {"accuracy": 0.123}],
    "rooms": [CELL | {"rt60_seconds": 0.3}],
    "levels": [CELL | {"gain_db": -10}],
}
PICTURE = b"\x89PNG of "
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser finds in a page: elements, texts by section, and whether each element is closed."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self.open, self.section = [], {}, [], None
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attributes["id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts[self.section] = self.texts.get(self.section, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def content_of(uri, kind):
    head, content = uri.split(",", 1)
    assert head == f"data:{kind};base64"
    return b64decode(content)


def scores_of(*names):
    probabilities = np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    return scoring.summary(
        Scores(["yes", HOSTILE], names, np.array([0, 1, 1]), probabilities), bins=10, worst=2
    )


@pytest.fixture
def clips():
    """Two, loud and quiet, in what 16 bits hold."""
    tone = np.round(2**14 * np.sin(np.arange(SAMPLE_RATE))) / 2**15
    waveforms = (tone.astype(np.float32), np.full(SAMPLE_RATE, -1, np.float32))
    return [
        HeardClip(
            ScoredClip(waveform, name, HOSTILE, "yes", 0.3, 0.7), SAMPLE_RATE, b"mel of a clip"
        )
        for waveform, name in zip(waveforms, (f"{HOSTILE}/1.wav", "no/2.wav"), strict=True)
    ]


@pytest.fixture
def page(tmp_path, clips):
    """A page with everything."""
    pictures = [tmp_path / f"{stem}.png" for stem in (*SHOWN, "of_something_else")]
    for picture in pictures:
        picture.write_bytes(PICTURE + picture.stem.encode())
    scores = scores_of("0.wav", f"{HOSTILE}/1.wav", "no/2.wav") | {"robustness": ROBUSTNESS}
    title = f"a run of {HOSTILE}\nsynthetic speech, not recordings of people"
    facts = [["labels", f"yes, {HOSTILE}"], ["commit of the program", "abc123"]]
    return Page(
        write_report(tmp_path / "a/report.html", title, facts, pictures, scores, clips, POINT)
    )


def test_every_section_is_there_and_linked(page):
    sections = ["accuracy", "noise", "worst", "listening", "training", "augmentations", "model"]
    assert [section["id"] for section in page.all("section")] == sections
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in sections]
    assert "synthetic speech, not recordings of people" in page.texts[None]
    assert "Expected calibration error" in page.texts["accuracy"]
    assert "12.3%" in page.texts["noise"] and "training heard this recording" in page.texts["noise"]
    assert "70.0%" in page.texts["worst"] and "no/2.wav" in page.texts["worst"]
    for text in ("10 dB", "0.97", "1.29", "for 0.5 false alarms an hour", "Decided 151 ms"):
        assert text in page.texts["listening"], text
    assert "abc123" in page.texts["model"]


def test_every_picture_lies_in_the_page_and_says_what_it_shows(page):
    pictures = {image["alt"]: image["src"] for image in page.all("img")}
    for stem, about in SHOWN.items():
        assert content_of(pictures.pop(about), "image/png") == PICTURE + stem.encode()
    assert set(pictures) == {f"Mel spectrogram of {HOSTILE}/1.wav", "Mel spectrogram of no/2.wav"}
    for source in pictures.values():
        assert content_of(source, "image/png") == b"mel of a clip"


def test_every_worst_clip_is_heard_as_the_model_heard_it(page, clips):
    sounds = page.all("audio")
    assert [sound["aria-label"] for sound in sounds] == [f"{HOSTILE}/1.wav", "no/2.wav"]
    for sound, heard in zip(sounds, clips, strict=True):
        assert "controls" in sound
        waveform, rate = soundfile.read(io.BytesIO(content_of(sound["src"], "audio/wav")))
        assert rate == SAMPLE_RATE
        np.testing.assert_array_equal(waveform, heard.clip.waveform)


def test_nothing_is_fetched_and_names_are_no_html(page):
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "poster", "srcset")
    ]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert not page.all("script") and not page.all("link")
    for text in ("http:", "https:", "url(", "@import"):
        assert text not in page.source
    for section in ("accuracy", "noise", "worst", "model", None):
        assert HOSTILE in page.texts[section], "a name is shown as it is"


def test_tables_say_what_their_rows_and_columns_are(page):
    heads = page.all("th")
    assert {head["scope"] for head in heads} == {"row", "col"}
    rows = [head for head in heads if head["scope"] == "row"]
    assert len(rows) == len(page.all("tr")) - len(page.all("table"))


def test_what_is_not_known_has_no_section(tmp_path):
    page = Page(write_report(tmp_path / "report.html", "a run", [["labels", "yes"]], []))
    assert [section["id"] for section in page.all("section")] == ["model"]


def test_a_model_without_errors_has_nothing_to_hear(tmp_path):
    right = scores_of("0.wav", "1.wav", "2.wav") | {"worst_clips": []}
    page = Page(write_report(tmp_path / "report.html", "a run", [["labels", "yes"]], [], right))
    assert "No clip was taken for another class." in page.texts["worst"]
    assert page.all("audio") == []


def test_of_two_pictures_with_one_name_the_later_counts(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "detection.png").write_bytes(name.encode())
    pictures = [tmp_path / name / "detection.png" for name in "ab"]
    page = Page(write_report(tmp_path / "report.html", "a run", [["labels", "yes"]], pictures))
    (image,) = page.all("img")
    assert content_of(image["src"], "image/png") == b"b"


def test_the_page_is_a_file_of_the_package():
    assert report.TEMPLATE.is_file()
