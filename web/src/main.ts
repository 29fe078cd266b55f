/** The page: from the buttons to the pictures. */

import { showCard } from "./card.ts";
import { Clips } from "./clips.ts";
import { Costs } from "./costs.ts";
import { Detector, type Event } from "./detector.ts";
import { clock, find, make } from "./dom.ts";
import { Engine } from "./engine.ts";
import { EventList } from "./event_list.ts";
import { Meter } from "./meter.ts";
import { MicrophoneChoice, openMicrophone, readSound, SoundError, type Microphone } from "./microphone.ts";
import { ModelError, type ModelInfo } from "./model_info.ts";
import { Models } from "./models.ts";
import { Player } from "./player.ts";
import { Plot } from "./plot.ts";
import type { Heard } from "./protocol.ts";
import { Recent } from "./recent.ts";
import { Recorder } from "./recorder.ts";
import { loudestPart } from "./takes.ts";
import { fillTexts, texts } from "./texts.ts";
import { Thresholds } from "./thresholds.ts";

const KEPT_SECONDS = 60;
const SHOWN_SECONDS = 8;
/** Somebody who missed a word has pressed the button by then. */
const MISSED_SECONDS = 3;
const MS_PER_SECOND = 1000;

class Page {
  private info: ModelInfo | null = null;
  private microphone: Microphone | null = null;
  recent = new Recent(null, KEPT_SECONDS);
  private detector: Detector | null = null;
  /** The sound file that is looked at, in the place of the microphone. */
  private file: { name: string; seconds: number; isScored: boolean } | null = null;
  /** While the microphone is being opened. */
  private opening: Promise<void> | null = null;
  private isPlaying = false;
  private mayDraw = true;

  private readonly player = new Player();
  private readonly engine = new Engine(
    (heard) => this.hear(heard),
    (message) => {
      this.stop();
      this.fail(new ModelError(texts.errors.broken(message)));
    },
  );
  private readonly meter = new Meter(find("level"), find("level-hint"));
  private readonly costs = new Costs(find("cost"));
  private readonly thresholds = new Thresholds(() => this.changeThresholds());
  private readonly models = new Models((bytes, name, card) => this.loadModel(bytes, name, card));
  private readonly clips = new Clips((clip) => this.player.play(clip.samples, clip.rate));
  private readonly choice = new MicrophoneChoice(() => void this.trying(() => this.listenAnew()));
  private readonly events = new EventList(
    (event) => this.player.play(event.sound, event.rate),
    (seconds) => this.file && this.seek(seconds),
    (clip) => this.clips.keep(clip),
  );
  private readonly plot = new Plot(
    find<HTMLCanvasElement>("scores"),
    find<HTMLCanvasElement>("mel"),
    find<HTMLCanvasElement>("wave"),
    (value) => this.thresholds.set(value),
  );
  private readonly listenButton = find<HTMLButtonElement>("listen");
  private readonly soundButton = find<HTMLButtonElement>("open-sound");
  private readonly playButton = find<HTMLButtonElement>("play");
  private readonly position = find<HTMLInputElement>("position");

  async start(): Promise<void> {
    fillTexts(document);
    new Recorder({ listen: () => this.listenIfOff(), recent: () => (this.microphone ? this.recent : null) }, (clip) =>
      this.clips.keep(clip),
    );
    find("missed").onclick = () => this.keepMissed();
    document.title = texts.title;
    this.listenButton.onclick = () => void this.trying(() => (this.microphone ? this.stop() : this.listen()));
    find("model").onchange = () => void this.trying(() => this.models.choose());
    find("open-model").onclick = () => find("model-file").click();
    this.soundButton.onclick = () => find("sound-file").click();
    this.playButton.onclick = () => this.playOrPause();
    this.position.oninput = () => this.seek(Number(this.position.value));
    find<HTMLInputElement>("sound-file").onchange = (event) => this.openFiles(event.target as HTMLInputElement);
    find<HTMLInputElement>("model-file").onchange = (event) => this.openFiles(event.target as HTMLInputElement);
    this.acceptDrops();
    matchMedia("(prefers-color-scheme: dark)").onchange = () => this.draw();
    this.draw();
    if ("serviceWorker" in navigator)
      void navigator.serviceWorker.register("./service_worker.js").catch(() => undefined);
    await this.trying(() => this.models.start());
  }

  /** Do something that may fail with a sentence for the reader. */
  private async trying(action: () => Promise<void> | void): Promise<void> {
    find("error").hidden = true;
    try {
      await action();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (!(error instanceof ModelError || error instanceof SoundError)) console.error(error);
    this.say(this.microphone ? texts.listening(this.microphone.label) : "");
    find("error").textContent = error instanceof Error ? error.message : String(error);
    find("error").hidden = false;
    find("error").scrollIntoView({ block: "nearest" });
  }

  private say(text: string): void {
    find("status").textContent = text;
  }

  private async loadModel(file: ArrayBuffer, name: string, card: string | null): Promise<void> {
    const bytes = file.byteLength;
    const info = await this.engine.load(file, name);
    this.stop();
    this.info = info;
    this.file = null;
    this.thresholds.load(info);
    this.begin(KEPT_SECONDS);
    showCard(info, bytes, card);
    find("missed-word").replaceChildren(...info.keywords.map((keyword) => make("option", {}, keyword)));
    find<HTMLButtonElement>("missed").disabled = false;
    this.listenButton.disabled = this.soundButton.disabled = false;
    this.say(texts.ready(name, info.keywords));
  }

  /** A new stream. */
  private begin(seconds: number): void {
    this.recent = new Recent(this.info, seconds);
    this.detector = this.newDetector();
    this.events.clear(this.file !== null);
    this.meter.reset();
    this.costs.reset(this.info);
    find("transport").hidden = this.file === null;
    this.draw();
  }

  private newDetector(): Detector | null {
    if (!this.info) return null;
    const settings = { ...this.info.detector, thresholds: this.thresholds.values };
    return new Detector(this.info.labels, this.recent.frameSeconds * MS_PER_SECOND, settings);
  }

  /** Two microphones are never opened at once: the one before could not be closed again. */
  private listen(): Promise<void> {
    this.opening ??= this.openAndListen().finally(() => (this.opening = null));
    return this.opening;
  }

  /** With what is chosen now. */
  private async listenAnew(): Promise<void> {
    await this.opening;
    if (this.microphone) await this.listen();
  }

  private async openAndListen(): Promise<void> {
    this.stop();
    const rate = this.recent.rate;
    const microphone = await openMicrophone(this.choice.device, this.choice.processing, rate, () => {
      this.stop();
      this.fail(new SoundError(texts.errors.lostMicrophone));
    });
    this.microphone = microphone;
    void this.choice.show(microphone);
    this.file = null;
    this.begin(KEPT_SECONDS);
    this.engine.listen(microphone.port, microphone.rate);
    this.listenButton.textContent = texts.stop;
    this.listenButton.classList.add("on");
    const converted = microphone.rate === rate ? "" : ` ${texts.resampled(microphone.rate, rate)}`;
    const sayState = () => {
      if (this.microphone !== microphone) return;
      const isRunning = microphone.context.state === "running";
      this.say(isRunning ? texts.listening(microphone.label) + converted : texts.suspended);
    };
    microphone.context.onstatechange = sayState;
    sayState();
  }

  private async listenIfOff(): Promise<void> {
    if (!this.microphone) await this.trying(() => this.listen());
  }

  /** The loudest second of the last ones, or of what was played before the cursor, as a word that was not heard. */
  private keepMissed(): void {
    const { recent, file, info } = this;
    const word = find<HTMLSelectElement>("missed-word").value;
    const stop = file ? Number(this.position.value) : recent.seconds;
    const sound = recent.cut(Math.max(stop - MISSED_SECONDS, 0), stop);
    if (sound.length === 0) this.say(texts.missedNothing);
    else this.clips.keep({ word, samples: loudestPart(sound, info!.clipSamples), rate: recent.rate });
  }

  private stop(): void {
    this.player.stop();
    if (!this.microphone) return;
    this.engine.stop();
    this.microphone.close();
    this.microphone = null;
    this.listenButton.textContent = texts.listen;
    this.listenButton.classList.remove("on");
    this.say(texts.stopped);
  }

  private async openSound(name: string, bytes: ArrayBuffer): Promise<void> {
    const samples = await readSound(name, bytes, this.recent.rate);
    this.stop();
    this.file = { name, seconds: samples.length / this.recent.rate, isScored: false };
    this.begin(this.file.seconds);
    this.position.max = String(this.file.seconds);
    this.position.value = "0";
    this.say(texts.scoring(name));
    this.engine.score(samples);
  }

  private openFiles(input: HTMLInputElement): void {
    const [file] = input.files ?? [];
    input.value = "";
    if (file) void this.trying(() => this.open(file));
  }

  private async open(file: File): Promise<void> {
    const isModel = /\.onnx$/i.test(file.name);
    if (!isModel && !this.info) throw new ModelError(texts.noModel);
    this.say(texts.reading(file.name));
    const bytes = await file.arrayBuffer().catch(() => {
      throw new SoundError(texts.errors.unreadable(file.name));
    });
    if (isModel) await this.models.add(file.name, bytes);
    else await this.openSound(file.name, bytes);
  }

  private acceptDrops(): void {
    document.ondragover = (event) => {
      event.preventDefault();
      find("drop").hidden = false;
    };
    document.ondragleave = (event) => {
      if (event.relatedTarget === null) find("drop").hidden = true;
    };
    document.ondrop = (event) => {
      event.preventDefault();
      find("drop").hidden = true;
      const file = event.dataTransfer?.files[0];
      if (file) void this.trying(() => this.open(file));
    };
  }

  private hear(heard: Heard): void {
    this.recent.hear(heard);
    this.costs.hear(heard);
    const events = this.detector
      ? [
          ...this.detector.skip(heard.skipped),
          ...this.detector.hear(heard.rows),
          ...(heard.isLast ? this.detector.finish() : []),
        ]
      : [];
    if (this.file) {
      for (const event of events) this.addEvent(event, null);
      this.file.isScored = heard.isLast;
      if (heard.isLast) this.sayScored();
    } else {
      this.meter.hear(heard.samples);
      const delay = this.microphone ? this.microphone.context.currentTime - heard.time : 0;
      for (const event of events) this.addEvent(event, event.time - event.start + Math.max(delay, 0), true);
    }
    this.draw();
  }

  private sayScored(): void {
    this.say(texts.scored(this.file!.name, this.file!.seconds, this.events.length));
  }

  private addEvent(event: Event, latency: number | null, isAnnounced = false): void {
    const { recent, info } = this;
    const start = recent.shifted(event.start);
    const clipSeconds = info!.clipSamples / info!.sampleRate;
    this.events.add({
      ...event,
      keywordNumber: info!.keywords.indexOf(event.keyword),
      time: recent.shifted(event.time),
      latency,
      sound: recent.cut(start + AFTER_SECONDS - clipSeconds, start + AFTER_SECONDS),
      rate: recent.rate,
    });
    if (isAnnounced) find("announced").textContent = texts.announced(event.keyword, event.score, clock(start));
  }

  /** In a file all events are decided again; in a stream the next ones are. */
  private changeThresholds(): void {
    if (this.file) {
      this.detector = this.newDetector();
      this.events.clear(true);
      const { rows } = this.recent;
      for (let i = 0; i < rows.end; i++)
        for (const event of this.detector!.hear(rows.at(i))) this.addEvent(event, null);
      if (this.file.isScored) {
        for (const event of this.detector!.finish()) this.addEvent(event, null);
        this.sayScored();
      }
    } else {
      this.detector?.setThresholds(this.thresholds.values);
    }
    this.draw();
  }

  private playOrPause(): void {
    if (this.isPlaying) return this.player.stop();
    const start = Number(this.position.value);
    const from = start >= this.file!.seconds - this.recent.frameSeconds ? 0 : start;
    this.isPlaying = true;
    this.playButton.textContent = texts.pause;
    this.player.play(this.recent.cut(from, this.file!.seconds), this.recent.rate, () => {
      this.isPlaying = false;
      this.playButton.textContent = texts.play;
    });
    const follow = () => {
      if (!this.isPlaying || this.player.seconds === null) return;
      this.position.value = String(from + this.player.seconds);
      this.draw();
      requestAnimationFrame(follow);
    };
    follow();
  }

  private seek(seconds: number): void {
    this.player.stop();
    this.position.value = String(seconds);
    this.draw();
  }

  /** Once a frame of the screen, at most. */
  private draw(): void {
    if (!this.mayDraw) return;
    this.mayDraw = false;
    requestAnimationFrame(() => {
      this.mayDraw = true;
      this.drawNow();
    });
  }

  private drawNow(): void {
    const { recent, file, thresholds } = this;
    const cursor = file ? Number(this.position.value) : null;
    const end = cursor === null ? Math.max(recent.seconds, SHOWN_SECONDS) : this.windowEnd(cursor, file!.seconds);
    const chosen = thresholds.chosen && this.info ? this.info.labels.indexOf(thresholds.chosen) : null;
    if (file) find("clock").textContent = `${clock(cursor!)} / ${clock(file.seconds)}`;
    this.plot.draw({
      recent,
      from: end - SHOWN_SECONDS,
      to: end,
      chosen,
      lines: thresholds.lines,
      note: thresholds.note,
      cursor,
      marks: this.events.marks,
    });
  }

  /** Of the part of a file that is shown around the cursor. */
  private windowEnd(cursor: number, seconds: number): number {
    return Math.max(Math.min(cursor + SHOWN_SECONDS / 2, seconds), SHOWN_SECONDS);
  }
}

/** A keyword reaches its threshold about when it ends. */
const AFTER_SECONDS = 0.15;

const page = new Page();
// For the console of the browser, and for tests.
Object.assign(globalThis, { spotter: page });
void page.start();
