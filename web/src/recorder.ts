/** Records a word of one's own, take after take. */

import { isWord, type Clip } from "./clips.ts";
import { find } from "./dom.ts";
import type { Recent } from "./recent.ts";
import { faultOf, trimmed } from "./takes.ts";
import { texts } from "./texts.ts";

const TAKES = 10;
const TAKE_SECONDS = 2;
const COUNTDOWN_MS = 1000;
const LOOK_MS = 50;
/** Bad takes in a row after which something is wrong with the microphone. */
const ATTEMPTS = 5;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export interface Heard {
  /** Starts the microphone where it is off. */
  listen: () => Promise<void>;
  /** What is heard, null once the microphone is off. */
  recent: () => Recent | null;
}

export class Recorder {
  private isOn = false;
  /** False from Stop on, until the take that has begun ends. */
  private isWanted = false;
  private readonly button = find<HTMLButtonElement>("record");
  private readonly word = find<HTMLInputElement>("own-word");
  private readonly progress = find<HTMLProgressElement>("takes");

  constructor(
    private readonly microphone: Heard,
    private readonly keep: (clip: Clip) => void,
  ) {
    this.progress.max = TAKES;
    this.button.onclick = () => void this.toggle();
  }

  private async toggle(): Promise<void> {
    this.isWanted = !this.isOn;
    if (this.isOn) return;
    const word = this.word.value.trim();
    if (!isWord(word)) return this.say(texts.takes.badWord);
    this.isOn = true;
    this.button.textContent = texts.stopRecording;
    try {
      await this.microphone.listen();
      this.say(await this.record(word));
    } finally {
      this.isOn = false;
      this.button.textContent = texts.record;
    }
  }

  /** Take after take; returns what to say at the end. */
  private async record(word: string): Promise<string> {
    let [good, bad] = [0, 0];
    let reason = "";
    this.progress.value = 0;
    while (good < TAKES && bad < ATTEMPTS) {
      this.say(`${reason} ${texts.takes.ready(word, good + 1, TAKES)}`);
      await pause(COUNTDOWN_MS);
      const samples = this.isWanted ? await this.take(word) : null;
      const recent = this.microphone.recent();
      if (!samples || !recent) return texts.takes.ended(good, word);
      const fault = faultOf(samples, recent.rate);
      if (fault) {
        bad++;
        reason = texts.takes.again(fault);
        continue;
      }
      [good, bad, reason] = [good + 1, 0, ""];
      this.progress.value = good;
      this.keep({ word, samples: trimmed(samples, recent.rate), rate: recent.rate });
    }
    return bad < ATTEMPTS ? texts.takes.done(TAKES, word) : texts.takes.givenUp(bad, reason);
  }

  /** The sound of one take; null if the microphone is gone. */
  private async take(word: string): Promise<Float32Array | null> {
    const start = this.microphone.recent()?.seconds ?? 0;
    this.say(texts.takes.now(word));
    for (;;) {
      await pause(LOOK_MS);
      const recent = this.microphone.recent();
      if (!recent || !this.isWanted) return null;
      if (recent.seconds >= start + TAKE_SECONDS) return recent.cut(start, start + TAKE_SECONDS);
    }
  }

  private say(text: string): void {
    find("record-status").textContent = text.trim();
  }
}
