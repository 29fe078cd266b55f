/** What the model costs: time of a call, share of a core, frames that were not scored. */

import type { ModelInfo } from "./model_info.ts";
import type { Heard } from "./protocol.ts";
import { DEFAULT_RATE } from "./recent.ts";
import { texts } from "./texts.ts";

const REMEMBERED = 300;
const SLOW_SHARE = 0.99;
const MS_PER_SECOND = 1000;
const CALL_MS = 100;

export class Costs {
  private times: number[] = [];
  private milliseconds = 0;
  private seconds = 0;
  private skipped = 0;
  private hopMs = CALL_MS;
  private rate = DEFAULT_RATE;

  constructor(private readonly output: HTMLElement) {}

  reset(info: ModelInfo | null): void {
    this.times = [];
    this.milliseconds = this.seconds = this.skipped = 0;
    if (info && !info.streaming) this.hopMs = Math.round((MS_PER_SECOND * info.frameSamples) / info.sampleRate);
    else this.hopMs = CALL_MS;
    this.rate = info?.sampleRate ?? DEFAULT_RATE;
    this.output.textContent = "";
  }

  hear(heard: Heard): void {
    this.seconds += heard.samples.length / this.rate;
    this.skipped += heard.skipped;
    if (heard.calls === 0) return;
    this.milliseconds += heard.milliseconds;
    this.times = [...this.times, heard.milliseconds / heard.calls].slice(-REMEMBERED);
    const sorted = this.times.toSorted((first, second) => first - second);
    const quantile = (share: number) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
    const share = this.milliseconds / MS_PER_SECOND / Math.max(this.seconds, heard.samples.length / this.rate);
    this.output.textContent = texts.cost(quantile(0.5), quantile(SLOW_SHARE), share, this.hopMs, this.skipped);
  }
}
