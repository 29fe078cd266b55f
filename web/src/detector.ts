/** Decides from rows of scores, one a frame, when a keyword was said: `inference/detector.py`, event for event. */

import type { DetectorSettings } from "./model_info.ts";

export interface Event {
  keyword: string;
  /** When it was decided, in seconds from the beginning of the stream. */
  time: number;
  /** Its highest score until then. */
  score: number;
  /** When its score reached the threshold (seconds). */
  start: number;
}

/** A keyword from the frame in which it reaches its threshold to the one in which it falls below `off`. */
interface Run {
  start: number;
  peak: number;
  spent: boolean;
}

const MS_PER_SECOND = 1000;

export class Detector {
  private readonly labels: string[];
  private readonly secondsPerFrame: number;
  private readonly minimum: number;
  private readonly settle: number;
  private readonly refractory: number;
  private readonly hysteresis: number;
  private on: number[] = [];
  private off: number[] = [];
  private frame = 0;
  private runs = new Map<number, Run>();
  private candidates = new Map<number, Run>();
  private decidesIn = Infinity;
  private readyIn: number;

  constructor(labels: string[], frameMs: number, settings: DetectorSettings) {
    const frames = (duration: number) => Math.ceil(duration / frameMs);
    this.labels = labels;
    this.secondsPerFrame = frameMs / MS_PER_SECOND;
    this.hysteresis = settings.hysteresis;
    this.minimum = frames(settings.minimum_ms);
    this.settle = frames(settings.settle_ms);
    this.refractory = frames(settings.refractory_ms);
    this.readyIn = frames(settings.warm_up_ms);
    this.setThresholds(settings.thresholds);
  }

  /** From now on; runs that have begun go on. */
  setThresholds(thresholds: Record<string, number>): void {
    // Rounded like the scores, so that 0.7 reaches 0.7.
    this.on = this.labels.map((label) => Math.fround(thresholds[label] ?? Infinity));
    this.off = this.on.map((threshold) => Math.fround(threshold - this.hysteresis));
  }

  /** The events that the next rows decide; a row has one score a label. */
  hear(rows: Float32Array): Event[] {
    const events: Event[] = [];
    for (let start = 0; start < rows.length; start += this.labels.length) {
      this.follow(rows.subarray(start, start + this.labels.length));
      if (this.decidesIn === this.frame) events.push(this.decision());
      this.frame++;
    }
    return events;
  }

  /** As if so many rows of zeros were heard. */
  skip(frames: number): Event[] {
    if (frames > 0) this.runs.clear();
    this.frame += frames;
    return this.decidesIn < this.frame ? [this.decision()] : [];
  }

  /** At the end of a stream: what would be decided if no sound followed. */
  finish(): Event[] {
    return this.skip(this.settle + 1);
  }

  /** Begin, continue and end the runs by one row. A NaN counts as zero. */
  private follow(scores: Float32Array): void {
    for (let k = 0; k < scores.length; k++) {
      const score = scores[k];
      let run = this.runs.get(k);
      if (run === undefined) {
        if (!(score >= this.on[k])) continue;
        run = { start: this.frame, peak: score, spent: false };
        this.runs.set(k, run);
      } else if (score >= this.off[k]) {
        run.peak = Math.max(run.peak, score);
      } else {
        this.runs.delete(k);
        continue;
      }
      if (!run.spent && this.frame >= Math.max(run.start + this.minimum - 1, this.readyIn)) {
        if (!this.candidates.has(k)) this.candidates.set(k, run);
        this.decidesIn = Math.min(this.decidesIn, this.frame + this.settle);
      }
    }
  }

  /** The most probable candidate, and of equal ones the first in the order of the labels. */
  private decision(): Event {
    const frame = this.decidesIn;
    const byLabel = [...this.candidates].sort(([first], [second]) => first - second);
    const [winner, run] = byLabel.reduce((best, next) => (next[1].peak > best[1].peak ? next : best));
    for (const rival of this.runs.values()) rival.spent = true;
    this.candidates.clear();
    this.decidesIn = Infinity;
    this.readyIn = frame + 1 + this.refractory;
    const seconds = (frames: number) => frames * this.secondsPerFrame;
    return { keyword: this.labels[winner], time: seconds(frame + 1), score: run.peak, start: seconds(run.start) };
  }
}
