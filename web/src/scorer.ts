/** Runs a model over a stream, piece after piece: with its state carried, or as a window of the last second. */

import type { InferenceSession, Tensor } from "onnxruntime-web/wasm";
import type { ModelInfo } from "./model_info.ts";

type Ort = typeof import("onnxruntime-web/wasm");

const CALL_MS = 100;
const MS_PER_SECOND = 1000;

export interface Scores {
  /** One row a frame, one score a label. */
  rows: Float32Array;
  /** What the model took for them. */
  milliseconds: number;
  calls: number;
}

/** One stream; sound comes in pieces of any length, at the model's rate. */
export class Scorer {
  /** Of one call of the model. */
  readonly callSamples: number;
  private readonly window: Float32Array;
  private filled = 0;
  private sinceWindow = 0;
  private state: Tensor | null = null;

  constructor(
    private readonly ort: Ort,
    private readonly session: InferenceSession,
    private readonly info: ModelInfo,
  ) {
    const { frameSamples, streaming, sampleRate, clipSamples } = info;
    const frames = Math.max(Math.round((CALL_MS * sampleRate) / MS_PER_SECOND / frameSamples), 1);
    this.callSamples = streaming ? frames * frameSamples : frameSamples;
    // Of a stream the samples that wait for a whole call; of clips the last window.
    this.window = new Float32Array(streaming ? this.callSamples : clipSamples);
  }

  /** Score what the next samples complete. */
  async hear(samples: Float32Array): Promise<Scores> {
    const parts: Float32Array[] = [];
    let milliseconds = 0;
    let position = 0;
    while (position < samples.length) {
      const next = this.info.streaming
        ? this.window.length - this.filled
        : this.filled < this.window.length
          ? this.window.length - this.filled
          : this.info.frameSamples - this.sinceWindow;
      const piece = samples.subarray(position, position + next);
      position += piece.length;
      this.take(piece);
      if (piece.length < next) break;
      const begin = performance.now();
      parts.push(await this.call(this.window));
      milliseconds += performance.now() - begin;
    }
    return { rows: joined(parts), milliseconds, calls: parts.length };
  }

  /** At the end of a sound: whole frames that wait, a last window that ends with the sound, or one around a short one. */
  async finish(): Promise<Scores> {
    const begin = performance.now();
    let sound: Float32Array | null = null;
    if (this.info.streaming) {
      const whole = Math.floor(this.filled / this.info.frameSamples) * this.info.frameSamples;
      if (whole > 0) sound = this.window.slice(0, whole);
    } else if (this.filled < this.window.length && this.filled > 0) {
      sound = new Float32Array(this.window.length);
      sound.set(this.window.subarray(0, this.filled), Math.floor((this.window.length - this.filled) / 2));
    } else if (this.sinceWindow > 0) {
      sound = this.window;
    }
    const rows = sound ? await this.call(sound) : new Float32Array(0);
    return { rows, milliseconds: performance.now() - begin, calls: sound ? 1 : 0 };
  }

  private take(piece: Float32Array): void {
    if (this.filled < this.window.length) {
      this.window.set(piece, this.filled);
      this.filled += piece.length;
    } else {
      this.window.copyWithin(0, piece.length);
      this.window.set(piece, this.window.length - piece.length);
      this.sinceWindow += piece.length;
    }
  }

  private async call(sound: Float32Array): Promise<Float32Array> {
    const { Tensor } = this.ort;
    const feeds: Record<string, Tensor> = { waveform: new Tensor("float32", sound.slice(), [1, sound.length]) };
    if (this.info.streaming) {
      const [rows, kept] = this.info.streaming.state_shape;
      this.state ??= new Tensor("float32", new Float32Array(rows * kept), [1, rows, kept]);
      feeds.state = this.state;
      this.filled = 0;
    }
    this.sinceWindow = 0;
    const outputs = await this.session.run(feeds);
    if (this.info.streaming) this.state = outputs.next_state;
    return outputs.probabilities.data as Float32Array;
  }
}

export function joined(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
