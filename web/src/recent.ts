/** What was heard lately, or of a whole file: samples, scores and log-mel columns on one clock. */

import type { ModelInfo } from "./model_info.ts";
import type { Heard } from "./protocol.ts";
import { Track } from "./track.ts";

export const DEFAULT_RATE = 16000;
const BANDS = 40;
const COLUMN_SECONDS = 0.01;
const LOG_FLOOR = 1e-6;
const MS_PER_SECOND = 1000;
const FULL_SCALE = 0.999;
const LEAST_POWER = 1e-20;

export class Recent {
  readonly rate: number;
  readonly sound: Track;
  readonly rows: Track;
  readonly mel: Track;
  readonly columnSeconds: number;
  /** The log-mel energy of silence. */
  readonly melFloor: number;
  readonly frameSeconds: number;
  /** For each column of the rows which keyword it is, -1 for silence and unknown words. */
  readonly columns: number[];
  private readonly frameSamples: number;
  /** The first row is of a whole clip. */
  private readonly firstSeconds: number;

  constructor(info: ModelInfo | null, seconds: number) {
    this.rate = info?.sampleRate ?? DEFAULT_RATE;
    this.frameSamples = info?.frameSamples ?? this.rate;
    this.frameSeconds = this.frameSamples / this.rate;
    this.firstSeconds = !info || info.streaming ? 0 : (info.clipSamples - info.frameSamples) / info.sampleRate;
    this.columnSeconds = info?.frontend.hop_ms ? info.frontend.hop_ms / MS_PER_SECOND : COLUMN_SECONDS;
    this.melFloor = Math.log(info?.frontend.log_floor ?? LOG_FLOOR);
    this.columns = info?.labels.map((label) => info.keywords.indexOf(label)) ?? [];
    const capacity = (step: number) => Math.ceil(seconds / step) + 1;
    this.sound = new Track(1, capacity(1 / this.rate));
    this.rows = new Track(Math.max(this.columns.length, 1), capacity(this.frameSeconds));
    this.mel = new Track(info?.frontend.n_mels ?? BANDS, capacity(this.columnSeconds));
  }

  /** Seconds heard. */
  get seconds(): number {
    return this.sound.end / this.rate;
  }

  hear({ samples, rows, columns, skipped }: Heard): void {
    if (skipped > 0) {
      this.sound.push(new Float32Array(skipped * this.frameSamples));
      this.rows.push(new Float32Array(skipped * this.rows.width));
      const missing = Math.round((skipped * this.frameSeconds) / this.columnSeconds);
      this.mel.push(new Float32Array(missing * this.mel.width).fill(-Infinity));
    }
    this.sound.push(samples);
    this.rows.push(rows);
    this.mel.push(columns);
  }

  /** When a frame was complete. */
  timeOf(frame: number): number {
    return this.firstSeconds + (frame + 1) * this.frameSeconds;
  }

  /** The same for a time of the detector. */
  shifted(seconds: number): number {
    return this.firstSeconds + seconds;
  }

  framesIn(from: number, to: number): [number, number] {
    const frame = (time: number) => (time - this.firstSeconds) / this.frameSeconds;
    return [Math.max(Math.floor(frame(from)) - 1, this.rows.first), Math.min(Math.ceil(frame(to)) + 1, this.rows.end)];
  }

  /** The sound from and to a time (seconds). */
  cut(from: number, to: number): Float32Array {
    return this.sound.slice(Math.round(from * this.rate), Math.round(to * this.rate));
  }
}

/** Level of a sound in dB of full scale. */
export function levelOf(samples: Float32Array): number {
  let power = 0;
  for (const sample of samples) power += sample ** 2;
  return 10 * Math.log10(power / Math.max(samples.length, 1) + LEAST_POWER);
}

export function clippedSamples(samples: Float32Array): number {
  return samples.reduce((count, sample) => count + Number(Math.abs(sample) >= FULL_SCALE), 0);
}
