"""The page in headless Chromium, with sound of the test's own in the place of a microphone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, TINY_METADATA, build_tiny_onnx, burst
from streaming_models import lively_sound, streaming_file
from web_page import MICROPHONE, NEEDS_BROWSER, ROOT, WEB, Visit, make_site, served, visit
from yaml import safe_load

from speech_commands_kws.inference.streaming import StreamingModel

PATTERNS = ROOT / "configs" / "data" / "recordings" / "default.yaml"

pytestmark = [pytest.mark.browser, NEEDS_BROWSER]

READY = """
await page.waitForFunction(() => !document.getElementById("listen").disabled);
"""
LISTEN = READY + 'await page.click("#listen");\n'
# What is opened of the microphone, from the next load on; permission waits for `window.isAsked` where a test sets it.
TRACKS = """
await page.addInitScript(() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await window.isAsked;
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
});
"""
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


def test_a_folder_is_refused_and_a_model_may_end_in_capitals(
    site: str, tmp_path: Path, tiny_onnx: Path
) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "OTHER.ONNX").write_bytes(tiny_onnx.read_bytes())
    steps = SEEN + READY + """
    const devtools = await context.newCDPSession(page);
    const drop = async (name) => {
      const data = { items: [], files: [`${facts}/${name}`], dragOperationsMask: 1 };
      for (const type of ["dragEnter", "dragOver", "drop"])
        await devtools.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
    };
    await drop("recordings");
    await page.waitForSelector("#error:visible");
    const { error } = await seen();
    await drop("OTHER.ONNX");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("OTHER.ONNX is ready"));
    return error;
    """
    error = visit(site, steps, facts=str(tmp_path)).value
    assert error.startswith("recordings cannot be read: expected a file, no folder")


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


def test_a_model_can_be_chosen_and_an_event_played(tmp_path: Path, tiny_onnx: Path) -> None:
    other = build_tiny_onnx(
        tmp_path / "other.onnx", TINY_METADATA | {"labels": '["a", "b", "c", "d"]'}
    )
    sound = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), burst("yes")])
    steps = SEEN + READY + """
    await page.selectOption("#model", { index: 1 });
    await page.waitForFunction(() => document.getElementById("status").textContent.includes("a, b, c, d"));
    await page.selectOption("#model", { index: 0 });
    await page.waitForFunction(() => document.getElementById("status").textContent.includes("yes, no"));
    await page.click("#listen");
    await page.waitForSelector("#events li");
    await page.click("#listen");
    await page.click("#events li:first-child button[aria-label^='Play']");
    await page.waitForFunction(() => window.spotter.player.seconds > 0.2);
    await page.waitForFunction(() => window.spotter.player.seconds === null);
    return [(await seen()).error, await page.$eval("#card", (card) => card.textContent)];
    """
    with served(make_site(tmp_path / "site", tiny_onnx, other)) as address:
        error, card = visit(address, steps, fake_microphone(tmp_path / "yes.wav", sound)).value
    assert error == ""
    assert "windows of 1 s, one every 250 ms" in card and "50.0 %" in card


def test_a_model_that_is_gone_leaves_the_one_in_use(tmp_path: Path, tiny_onnx: Path) -> None:
    """And models are loaded where the browser keeps nothing, as in a private window."""
    other = build_tiny_onnx(tmp_path / "other.onnx")
    steps = (
        SEEN
        + """
    await page.addInitScript(() => {
      caches.open = () => Promise.reject(new DOMException("It is insecure.", "SecurityError"));
    });
    await page.route("**/other.onnx", (route) => route.fulfill({ status: 404 }));
    await page.reload();
    """
        + READY
        + """
    await page.selectOption("#model", { index: 1 });
    await page.waitForSelector("#error:visible");
    return [(await seen()).error, await page.$eval("#model", (choice) => choice.selectedIndex)];
    """
    )
    with served(make_site(tmp_path / "site", tiny_onnx, other)) as address:
        error, chosen = visit(address, steps, serviceWorkers="block").value
    assert error.endswith("cannot be fetched: is the server still there?")
    assert chosen == 0


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


def test_one_microphone_is_open_at_a_time(site: str) -> None:
    """While permission is asked for, Record and changed settings open no second one, which Stop would not close."""
    steps = (
        TRACKS
        + """
    await page.addInitScript(() => (window.isAsked = new Promise((resolve) => (window.allow = resolve))));
    await page.reload();
    """
        + LISTEN
        + """
    const open = () => page.evaluate(() => window.tracks.filter(({ readyState }) => readyState === "live").length);
    await page.fill("#own-word", "lights");
    await page.click("#record");
    await page.click("summary:has-text('Microphone')");
    await page.check("#echoCancellation");
    await page.check("#noiseSuppression");
    await page.evaluate(() => window.allow());
    await page.waitForFunction(() => {
      const { echoCancellation, noiseSuppression } = window.tracks.at(-1)?.getSettings() ?? {};
      return echoCancellation && noiseSuppression && window.spotter.recent.seconds > 0;
    });
    const during = await open();
    await page.click("#listen");
    return [during, await open()];
    """
    )
    assert visit(site, steps).value == [1, 0]


def test_a_microphone_that_is_not_used_is_closed(site: str) -> None:
    """Because the server has gone, or another one was chosen that has gone."""
    steps = (
        SEEN
        + TRACKS
        + """
    await page.reload();
    """
        + READY
        + """
    const states = () => page.evaluate(() => window.tracks.map(({ readyState }) => readyState));
    const answers = [];
    const listen = async () => {
      await page.click("#listen");
      await page.waitForSelector("#error:visible");
      answers.push([await states(), (await seen()).error]);
    };
    await page.evaluate(() => {
      AudioWorklet.prototype.addModule = () => Promise.reject(new DOMException("", "AbortError"));
    });
    await listen();
    await page.click("summary:has-text('Microphone')");
    await page.$eval("#device", (choice) => choice.add(new Option("headset", "gone")));
    await page.selectOption("#device", "gone");
    await listen();
    return answers;
    """
    )
    answers = visit(site, steps).value
    assert [states for states, _ in answers] == [["ended"], ["ended"]]
    assert answers[0][1] == "A part of this page cannot be fetched: is the server still there?"
    assert answers[1][1].startswith("The chosen microphone is not there: plug it in, or choose")


def test_a_wrong_file_does_not_hide_that_it_listens(site: str, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    steps = SEEN + LISTEN + """
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Listening"));
    await page.setInputFiles("#sound-file", facts);
    await page.waitForSelector("#error:visible");
    return (await seen()).status;
    """
    status = visit(site, steps, facts=str(tmp_path / "song.wav")).value
    assert status.startswith("Listening to")


CURVE = [
    {"threshold": 0.6, "miss_rate": 0.05, "per_hour": 4.5, "limit_95": 6.5},
    {"threshold": 0.9, "miss_rate": 0.1, "per_hour": 0.5, "limit_95": None},
]


@pytest.fixture
def measured_site(tmp_path: Path) -> Iterator[str]:
    """With a model whose operating points were measured."""
    metadata = TINY_METADATA | {"operating_points": json.dumps({"curve": CURVE})}
    model = build_tiny_onnx(tmp_path / "measured.onnx", metadata)
    with served(make_site(tmp_path / "measured", model)) as address:
        yield address


def test_the_threshold_can_be_dragged(measured_site: str) -> None:
    """The line, the slider by keyboard, one word alone, and back; each time with what it costs."""
    steps = READY + """
    const shown = async () => [await page.textContent("#threshold-value"), await page.textContent("#threshold-cost")];
    const answers = [await shown()];
    const box = await page.locator("#scores").boundingBox();
    const heightOf = (value) => box.y + 6 + (1 - value) * (box.height - 12);
    await page.mouse.move(box.x + 200, heightOf(0.5));
    await page.mouse.down();
    await page.mouse.move(box.x + 200, heightOf(0.8));
    await page.mouse.up();
    answers.push(await shown());
    await page.click("#labels button:has-text('no')");
    await page.focus("#threshold");
    await page.keyboard.press("ArrowLeft");
    answers.push(await shown());
    await page.click("#labels button:has-text('all words')");
    answers.push(await shown());
    await page.click("#threshold-reset");
    answers.push(await shown());
    const devtools = await context.newCDPSession(page);
    const touch = (type, value) =>
      devtools.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: value === undefined ? [] : [{ x: box.x + 200, y: heightOf(value) }],
      });
    await touch("touchStart", 0.5);
    for (const value of [0.55, 0.6, 0.65, 0.7]) await touch("touchMove", value);
    await touch("touchEnd");
    answers.push(await shown());
    return answers;
    """
    first, dragged, single, mixed, again, touched = visit(measured_site, steps, hasTouch=True).value
    assert first == again
    assert float(touched[0]) == pytest.approx(0.7, abs=0.01)
    assert first[0] == "0.500" and first[1].startswith(
        "At 0.600, the nearest that was measured, it missed 5.0 %"
    )
    assert float(dragged[0]) == pytest.approx(0.8, abs=0.01)
    assert dragged[1].endswith("missed 10.0 % of the words and gave 0.50 false alarms an hour.")
    assert float(single[0]) == pytest.approx(float(dragged[0]) - 0.001)
    assert mixed[0] == "one for each"


def test_moving_the_threshold_decides_a_file_again(site: str, tmp_path: Path) -> None:
    spoken = np.concatenate([np.zeros(SAMPLE_RATE), burst("yes")])
    soundfile.write(tmp_path / "yes.wav", np.tile(spoken, 105), SAMPLE_RATE)
    steps = SEEN + READY + """
    const score = async () => {
      await page.setInputFiles("#sound-file", facts);
      await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("yes.wav: 210.0 s"));
      const times = await page.$$eval("#events button.plain", (items) => items.map((item) => item.textContent));
      return { ...(await seen()), times };
    };
    const before = await score();
    await page.fill("#threshold", "0.999");
    const strict = await seen();
    await page.click("#threshold-reset");
    const again = await seen();
    await page.evaluate(() => {
      const { spotter } = window;
      const hear = spotter.hear;
      let heard = 0;
      spotter.hear = function (piece) {
        hear.call(this, piece);
        if (++heard % 100 === 0) this.changeThresholds();
      };
    });
    return [before, strict, again, await score()];
    """
    before, strict, again, meanwhile = visit(site, steps, facts=str(tmp_path / "yes.wav")).value
    assert before["events"] == again["events"] and len(before["events"]) > 100
    assert (
        before["status"] == again["status"] == f"yes.wav: 210.0 s, {len(before['events'])} events."
    )
    assert strict["events"] == [] and strict["status"] == "yes.wav: 210.0 s, 0 events."
    assert meanwhile == before


def test_an_event_is_played_in_the_place_of_the_recording(site: str, tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(SAMPLE_RATE), burst("yes"), np.zeros(8 * SAMPLE_RATE)])
    soundfile.write(tmp_path / "yes.wav", sound, SAMPLE_RATE)
    steps = READY + """
    await page.setInputFiles("#sound-file", facts);
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("yes.wav: 10.0 s"));
    await page.click("#play");
    await page.waitForFunction(() => Number(document.getElementById("position").value) > 0.2);
    await page.click("#events li:first-child button[aria-label^='Play']");
    const label = await page.textContent("#play");
    const before = await page.inputValue("#position");
    await page.waitForFunction(() => window.spotter.player.seconds === null);
    return [label, before === (await page.inputValue("#position"))];
    """
    assert visit(site, steps, facts=str(tmp_path / "yes.wav")).value == ["Play", True]


def test_clips_come_as_training_reads_them(site: str, tmp_path: Path) -> None:
    """Right, wrong and missed; then the ZIP. A second one, of more clips, holds the first ones by the same names."""
    pause = np.zeros(2 * SAMPLE_RATE, np.float32)
    sound = np.concatenate([pause, burst("yes"), pause, burst("no"), pause])
    soundfile.write(tmp_path / "words.wav", sound, SAMPLE_RATE)
    steps = READY + """
    await page.setInputFiles("#sound-file", facts + "/words.wav");
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("words.wav: 8.0 s"));
    const word = await page.textContent("#events li:last-child strong");
    await page.click("#events li:last-child button:has-text('Right')");
    await page.click("#events li:first-child button:has-text('Wrong')");
    await page.fill("#position", "3.2");
    await page.selectOption("#missed-word", "no");
    await page.click("#missed");
    await page.fill("#speaker", "a/b");
    const isRefused = await page.isDisabled("#download");
    await page.fill("#speaker", "anna");
    const warnings = [];
    page.on("dialog", (dialog) => warnings.push(dialog.type()) && dialog.dismiss());
    const download = async (name) => {
      const saved = page.waitForEvent("download");
      await page.click("#download");
      await (await saved).saveAs(`${facts}/${name}.zip`);
    };
    await page.evaluate(() => location.reload());
    await download("first");
    await page.click("#missed");
    await download("second");
    await page.reload();
    return [isRefused, word, warnings];
    """
    is_refused, word, warnings = visit(site, steps, facts=str(tmp_path)).value
    assert is_refused
    assert warnings == ["beforeunload"]  # of the clips that were not downloaded yet
    first, second = (ZipFile(tmp_path / f"{name}.zip") for name in ("first", "second"))
    assert len(first.namelist()) == 3 and len(second.namelist()) == 4
    assert set(first.namelist()) < set(second.namelist())
    pattern = re.compile(safe_load(PATTERNS.read_text())["pattern"])
    read = [pattern.fullmatch(name) for name in first.namelist()]
    assert {(match["word"], match["speaker"]) for match in read} == {
        (kept, "anna") for kept in ("_unknown_", "no", word)
    }
    first.extractall(tmp_path / "clips")
    missed, rate = soundfile.read(max(tmp_path.glob("clips/no/*")), dtype="float32")
    assert rate == SAMPLE_RATE and len(missed) == SAMPLE_RATE
    assert np.abs(missed).max() == pytest.approx(0.5, abs=1e-3)


def test_a_word_of_ones_own_is_recorded(site: str, tmp_path: Path) -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    word = 0.3 * np.sin(2 * np.pi * 300 * time) * (np.abs(time - 1) < 0.25)
    steps = READY + """
    await page.click("#record");
    const refused = await page.textContent("#record-status");
    await page.fill("#own-word", "lights");
    await page.click("#record");
    await page.waitForFunction(() => document.getElementById("takes").value === 2);
    await page.dblclick("#record");
    await page.waitForFunction(() => document.getElementById("record-status").textContent.startsWith("Stopped"));
    return [refused, await page.textContent("#record-status"), await page.textContent("#clips li")];
    """
    refused, status, clips = visit(site, steps, fake_microphone(tmp_path / "word.wav", word)).value
    assert refused == "Type a word first, of letters."
    assert status == "Stopped after 2 good takes of “lights”."
    assert clips.startswith("lights2 clips")


def test_a_sound_that_the_browser_paused_is_explained(site: str) -> None:
    steps = LISTEN + """
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Listening"));
    await page.evaluate(() => window.spotter.microphone.context.suspend());
    await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("The browser has"));
    await page.click("#listen");
    return await page.textContent("#status");
    """
    assert visit(site, steps).value == "Stopped."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(measured_site: str, tmp_path: Path, scheme: str) -> None:
    """By axe-core, with all that can be opened open, at the width of a phone too."""
    facts = (WEB / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
    steps = LISTEN + """
    await page.waitForFunction(() => document.querySelectorAll("#events li").length > 0);
    await page.click("#events li:first-child button:has-text('Right')");
    await page.click("#listen");
    await page.evaluate(() => document.querySelectorAll("details").forEach((part) => (part.open = true)));
    await page.$eval("#model", (choice) => choice.add(new Option("long_name_".repeat(30))));
    await page.evaluate(facts);
    const found = [];
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 });
      const { violations } = await page.evaluate(() => window.axe.run());
      found.push(...violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`));
      const isWider = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      if (isWider) found.push(`wider than ${width}`);
    }
    return found;
    """
    sound = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), burst("yes")])
    flags = fake_microphone(tmp_path / "yes.wav", sound)
    assert visit(measured_site, steps, flags, facts, colorScheme=scheme).value == []


@pytest.mark.integration
def test_listening_grows_no_memory(site: str, tmp_path: Path) -> None:
    """Of page and worker, once all that is kept is full; rubbish is collected before each reading."""
    sound = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), burst("yes")])
    steps = LISTEN + """
    const reading = async () => {
      await page.evaluate(() => globalThis.gc());
      await page.workers()[0].evaluate(() => globalThis.gc());
      return megabytes();
    };
    await page.waitForTimeout(65000);
    const before = await reading();
    await page.waitForTimeout(30000);
    return [before, await reading(), await page.$$eval("#events li", (items) => items.length)];
    """
    flags = [*fake_microphone(tmp_path / "yes.wav", sound), "--js-flags=--expose-gc"]
    before, after, events = visit(site, steps, flags).value
    assert events > 20
    assert 0 < after < before + 10


def test_a_busy_machine_skips_frames_and_says_so(site: str) -> None:
    """What is heard keeps up with the clock of the microphone."""
    steps = LISTEN + """
    await page.waitForFunction(() => window.spotter.recent.seconds > 1);
    await page.workers()[0].evaluate(() => {
      const end = performance.now() + 4000;
      while (performance.now() < end);
    });
    await page.waitForFunction(() => /[1-9]\\d* frames skipped/.test(document.getElementById("cost").textContent));
    await page.waitForTimeout(1000);
    return await page.evaluate(() => window.spotter.microphone.context.currentTime - window.spotter.recent.seconds);
    """
    assert abs(visit(site, steps).value) < 1


def test_a_browser_that_insists_on_processing_is_named(site: str) -> None:
    steps = (
        """
    await page.addInitScript(() => {
      const { getSettings } = MediaStreamTrack.prototype;
      MediaStreamTrack.prototype.getSettings = function () {
        return { ...getSettings.call(this), noiseSuppression: true };
      };
    });
    await page.reload();
    """
        + LISTEN
        + """
    await page.waitForFunction(() => document.getElementById("insists").textContent);
    return await page.textContent("#insists");
    """
    )
    assert visit(site, steps).value == "This browser does it all the same: noise suppression."
