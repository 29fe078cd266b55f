"""The sources of the page answer like Python: facts of a model, scores, events, rate conversion, log-mel."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_LABELS, burst
from onnx import ModelProto, load
from streaming_models import DETECTOR, HOP_SAMPLES, STREAMING_INFO, lively_sound, streaming_file
from trained_looking import LABELS, SAMPLE_RATE, trained_looking
from web_page import NEEDS_NODE, ROOT, WEB, answer_of
from yaml import safe_load

from speech_commands_kws.audio.reading import fit_length
from speech_commands_kws.audio.takes import TakeCriteria, check_speaker, fault, trim
from speech_commands_kws.data.words import is_word
from speech_commands_kws.errors import KwsError
from speech_commands_kws.inference.detector import Detector
from speech_commands_kws.inference.model_info import ModelInfo
from speech_commands_kws.inference.spotter import KeywordSpotter
from speech_commands_kws.inference.streaming import StreamingModel

pytestmark = NEEDS_NODE

FRAME_MS = 10


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streaming_file(tmp_path_factory.mktemp("streaming"))


def test_the_facts_of_a_model_are_read(streaming: Path) -> None:
    info = answer_of("info", model=str(streaming))
    properties = {entry.key: entry.value for entry in load(streaming).metadata_props}
    expected = ModelInfo.from_metadata(properties, streaming)
    assert info["labels"] == list(LABELS) and info["keywords"] == ["yes", "no"]
    assert info["sampleRate"] == info["clipSamples"] == SAMPLE_RATE
    assert info["frameSamples"] == HOP_SAMPLES
    assert info["detector"] == STREAMING_INFO.detector
    assert info["streaming"]["state_shape"] == expected.streaming["state_shape"]


def test_metadata_may_stand_anywhere_and_beside_any_field(tmp_path: Path, tiny_onnx: Path) -> None:
    """Protobuf lets fields come in any order, and texts hold any character."""
    model = load(tiny_onnx)
    model.doc_string, model.model_version = "é" * 300, 2**40
    parts = ModelProto()
    parts.metadata_props.extend(model.metadata_props)
    del model.metadata_props[:]
    entry = parts.metadata_props.add()
    entry.key, entry.value = "training", '{"data": "naïve 漢字"}'
    path = tmp_path / "model.onnx"
    path.write_bytes(parts.SerializeToString() + model.SerializeToString())
    info = answer_of("info", model=str(path))
    assert info["labels"] == TINY_LABELS
    assert info["training"] == {"data": "naïve 漢字"}


def test_a_stream_has_the_same_scores_however_it_is_cut(streaming: Path) -> None:
    sound = lively_sound(3)[: 3 * SAMPLE_RATE - 77]
    expected = StreamingModel(streaming).rows(sound)
    assert np.ptp(expected) > 0.5
    for pieces in ([], [1, 3000, 159, 12345]):
        rows = answer_of("rows", model=str(streaming), sound=sound, pieces=pieces)
        np.testing.assert_allclose(rows, expected.ravel(), atol=1e-5)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.3])
def test_windows_of_a_recording_have_the_same_scores(tiny_onnx: Path, seconds: float) -> None:
    """A short one has silence around it, and the last window of a long one ends with it."""
    words = np.concatenate([burst("yes"), burst("no"), burst("yes")])
    sound = words[int(0.4 * SAMPLE_RATE) :][: int(seconds * SAMPLE_RATE)]
    spotter = KeywordSpotter(tiny_onnx)
    expected = np.array([spotter.score(window[None])[0] for _, window in spotter.windows(sound)])
    for pieces in ([], [100, 5000]):
        rows = answer_of("rows", model=str(tiny_onnx), sound=sound, pieces=pieces)
        np.testing.assert_allclose(rows, expected.ravel(), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_rows_make_the_same_events(seed: int) -> None:
    generator = np.random.default_rng(seed)
    steps = generator.normal(0, 0.12, (2000, len(LABELS))).cumsum(axis=0)
    rows = np.abs(np.sin(steps)).astype(np.float32)
    rows[100:103] = np.nan
    detector = Detector(LABELS, FRAME_MS, **DETECTOR)
    expected = detector(rows) + detector.finish()
    assert len(expected) > 5
    events = answer_of(
        "events",
        rows=np.nan_to_num(rows),
        labels=list(LABELS),
        frameMs=FRAME_MS,
        settings=DETECTOR,
        pieces=[1, 333, 20],
    )
    assert [event["keyword"] for event in events] == [event.keyword for event in expected]
    for event, other in zip(events, expected, strict=True):
        assert event == pytest.approx(asdict(other))


def tone(hertz: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate)


@pytest.mark.parametrize("rate", [44100, 48000, 8000])
def test_the_rate_is_converted_without_aliases(rate: int) -> None:
    def level_db(hertz: float) -> float:
        sound = answer_of(
            "resampled", sound=tone(hertz, rate), rates=[rate, SAMPLE_RATE], pieces=[1, 999]
        )
        middle = np.array(sound)[500:-500]
        return 10 * np.log10(2 * np.mean(middle**2) + 1e-20)

    nyquist = min(rate, SAMPLE_RATE) / 2
    assert level_db(0.05 * nyquist) == pytest.approx(0, abs=0.05)
    assert level_db(0.85 * nyquist) == pytest.approx(0, abs=0.1)
    if rate > SAMPLE_RATE:
        assert level_db(1.08 * nyquist) < -80
        assert level_db(1.5 * nyquist) < -80


def test_the_rate_of_the_model_is_left_alone() -> None:
    sound = lively_sound(1)[:1000]
    same = answer_of("resampled", sound=sound, rates=[SAMPLE_RATE, SAMPLE_RATE])
    np.testing.assert_array_equal(np.float32(same), sound)


def test_the_picture_is_that_of_the_front_end() -> None:
    sound = lively_sound(1)
    spotter = trained_looking(torch.nn.Identity(), causal=True)
    expected = spotter.frontend(torch.from_numpy(sound[None]))[0, 0].T.numpy()
    columns = np.reshape(
        answer_of("mel", sound=sound, rates=[SAMPLE_RATE, 0], frontend={}), (-1, 40)
    )
    np.testing.assert_allclose(columns, expected, atol=1e-3)


def spoken(seconds: float, level: float, at: float = 0.6, noise: float = 1e-4) -> np.ndarray:
    """Two seconds with a word, with a short closure in it."""
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    inside = (time >= at) & (time < at + seconds) & (np.abs(time - at - seconds / 2) > 0.05)
    hiss = np.random.default_rng(0).normal(0, noise, len(time))
    return (level * np.sin(2 * np.pi * 300 * time) * inside + hiss).astype(np.float32)


@pytest.mark.parametrize(
    "take",
    [
        spoken(0.5, 0.3),
        spoken(0.5, 0.3, at=0),
        spoken(0.5, 0.3, at=1.6),
        spoken(0.6, 1.2),
        spoken(0.5, 0.002, noise=1e-5),
        spoken(0.5, 0.1, noise=0.05),
        spoken(0.15, 0.3),
        spoken(1.3, 0.3),
    ],
)
def test_takes_are_judged_and_trimmed_alike(take: np.ndarray) -> None:
    demands = safe_load((ROOT / "configs" / "record.yaml").read_text())["demands"]
    del demands["_target_"]
    criteria = TakeCriteria(**demands | {"longest_seconds": 1.0})
    answer = answer_of("take", sound=take, rates=[SAMPLE_RATE, 0])
    expected = fault(take, SAMPLE_RATE, criteria)
    assert (answer["fault"] or "").split(";")[0] == (expected or "").split(":")[0]
    np.testing.assert_array_equal(np.float32(answer["word"]), trim(take, SAMPLE_RATE, criteria))


def test_the_same_words_and_speakers_are_taken() -> None:
    """As by training and `kws record`: letters of any script with their marks."""
    names = ["lights", "hey lights", "l’été", "हिन्दी", "日本", "a", "channel 5", "1", "a-", " a"]
    names += ["", "../a", "_unknown_", "anna_1", "a.b", ".a", "a_nohash_1", "a/b"]

    def is_speaker(name: str) -> bool:
        try:
            check_speaker(name)
        except KwsError:
            return False
        return True

    expected = [[is_word(name), is_speaker(name)] for name in names]
    assert answer_of("names", names=names) == expected


def test_the_loudest_part_is_that_of_training() -> None:
    sound = lively_sound(3)
    part = answer_of("loudest", sound=sound, rates=[SAMPLE_RATE, 0])
    np.testing.assert_array_equal(np.float32(part), fit_length(sound, SAMPLE_RATE))


def test_the_licences_name_what_the_page_contains() -> None:
    packages = json.loads((WEB / "package.json").read_text())["dependencies"]
    licences = (WEB / "public" / "licences.txt").read_text()
    assert packages and all(f" {version}, Copyright" in licences for version in packages.values())
