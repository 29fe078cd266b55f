"""The page in headless Chromium, with sound of the test's own in the place of a microphone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, burst
from streaming_models import lively_sound, streaming_file
from web_page import MICROPHONE, NEEDS_BROWSER, Visit, make_site, served, visit

from speech_commands_kws.inference.streaming import StreamingModel

pytestmark = [pytest.mark.browser, NEEDS_BROWSER]

READY = """
await page.waitForFunction(() => !document.getElementById("listen").disabled);
"""
LISTEN = READY + 'await page.click("#listen");\n'
# What the reader sees.
SEEN = """
const seen = async () => ({
  status: await page.textContent("#status"),
  error: (await page.isVisible("#error")) ? await page.textContent("#error") : "",
  events: await page.$$eval("#events li", (items) => items.map((item) => item.querySelector("strong").textContent)),
});
"""


@pytest.fixture
def site(tmp_path: Path, tiny_onnx: Path) -> Iterator[str]:
    """The address of the page with a model of clips."""
    with served(make_site(tmp_path / "site", tiny_onnx)) as address:
        yield address


def fake_microphone(path: Path, sound: np.ndarray) -> list[str]:
    soundfile.write(path, sound, SAMPLE_RATE)
    return [*MICROPHONE, f"--use-file-for-fake-audio-capture={path}"]


def is_clean(seen: Visit, address: str) -> bool:
    """No complaint, and nothing asked for elsewhere."""
    return not seen.complaints and all(url.startswith(address) for url in seen.requests)


def test_a_spoken_word_appears(site: str, tmp_path: Path) -> None:
    """Soon after it was said; and silence between the words is none."""
    sound = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), burst("yes")])
    steps = SEEN + LISTEN + """
    await page.waitForFunction(() => document.querySelectorAll("#events li").length > 1);
    return { ...(await seen()), latency: await page.textContent("#events li .latency") };
    """
    seen = visit(site, steps, fake_microphone(tmp_path / "yes.wav", sound))
    # The burst passes the quarters of the window, one after the other.
    assert set(seen.value["events"]) <= {"yes", "no"}
    assert seen.value["error"] == ""
    assert float(seen.value["latency"].removesuffix(" s")) < 1
    assert is_clean(seen, site)


def test_silence_is_no_word(site: str, tmp_path: Path) -> None:
    steps = SEEN + LISTEN + "await page.waitForTimeout(3000); return await seen();"
    seen = visit(site, steps, fake_microphone(tmp_path / "zeros.wav", np.zeros(SAMPLE_RATE)))
    assert seen.value["events"] == [] and seen.value["status"].startswith("Listening to")


@pytest.mark.parametrize("name", ["damaged.onnx", "foreign.onnx", "song.wav"])
def test_a_wrong_file_is_explained(site: str, tmp_path: Path, name: str, tiny_onnx: Path) -> None:
    wrong = tmp_path / name
    whole = tiny_onnx.read_bytes()
    wrong.write_bytes(
        {"damaged.onnx": whole[: len(whole) // 2], "foreign.onnx": b":\x02\n\0"}.get(name, b"RIFF")
    )
    steps = SEEN + READY + """
    await page.setInputFiles(facts.endsWith(".onnx") ? "#model-file" : "#sound-file", facts);
    await page.waitForSelector("#error:visible");
    return await seen();
    """
    error = visit(site, steps, facts=str(wrong)).value["error"]
    expected = {
        "damaged.onnx": "damaged.onnx is damaged or no ONNX file (",
        "foreign.onnx": "foreign.onnx is an ONNX file, but no keyword spotter exported by kws export (no labels,",
        "song.wav": "song.wav is no sound that this browser can read: expected WAV, FLAC, Ogg or MP3.",
    }
    assert error.startswith(expected[name])


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--use-fake-ui-for-media-stream"], "There is no microphone"),
        (
            ["--use-fake-device-for-media-stream", "--deny-permission-prompts"],
            "The microphone was refused",
        ),
    ],
)
def test_without_a_microphone_it_says_so(site: str, flags: list[str], reason: str) -> None:
    steps = SEEN + LISTEN + 'await page.waitForSelector("#error:visible"); return await seen();'
    assert visit(site, steps, flags).value["error"].startswith(reason)


def test_a_file_has_the_scores_of_python(tmp_path: Path) -> None:
    """Of its samples as they are, to the last frame."""
    model, sound = streaming_file(tmp_path), lively_sound(4)
    soundfile.write(tmp_path / "lively.wav", sound, SAMPLE_RATE)
    steps = READY + """
    await page.setInputFiles("#sound-file", facts);
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("lively.wav: 4.0 s"));
    return await page.evaluate(() => [...window.spotter.recent.rows.values]);
    """
    with served(make_site(tmp_path / "site", model)) as address:
        rows = np.array(visit(address, steps, facts=str(tmp_path / "lively.wav")).value)
    heard, _ = soundfile.read(tmp_path / "lively.wav", dtype="float32")
    expected = StreamingModel(model).rows(heard)
    np.testing.assert_allclose(rows[: expected.size], expected.ravel(), atol=1e-3)


def test_it_opens_without_a_network(tmp_path: Path, tiny_onnx: Path) -> None:
    with served(make_site(tmp_path / "site", tiny_onnx)) as address:
        steps = READY + """
        await page.evaluate(() => navigator.serviceWorker.ready);
        await context.setOffline(true);
        await page.reload();
        """ + LISTEN + 'return await page.textContent("#status");'
        assert visit(address, steps).value


def test_without_models_it_asks_for_one(tmp_path: Path, tiny_onnx: Path) -> None:
    steps = SEEN + """
    await page.waitForFunction(() => document.getElementById("status").textContent);
    const before = await seen();
    await page.setInputFiles("#model-file", facts);
    """ + READY + "return [before, await seen()];"
    with served(make_site(tmp_path / "site")) as address:
        before, after = visit(address, steps, facts=str(tiny_onnx)).value
    assert before["status"] == "No model is here. Drop a model.onnx on this page, or open one."
    assert after["status"] == "model.onnx is ready. It knows: yes, no."
