/** Beside the page: converts the rate, runs the model, and draws the columns of the log-mel picture. */

import * as ort from "onnxruntime-web/wasm";
import wasmAddress from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { MelColumns } from "./mel.ts";
import { ModelError, readModelInfo, type ModelInfo } from "./model_info.ts";
import type { Captured, FromWorker, ToWorker } from "./protocol.ts";
import { Resampler } from "./resampler.ts";
import { joined, Scorer, type Scores } from "./scorer.ts";

const PIECE_SECONDS = 0.1;
// Sound that waits for a busy machine; beyond it the oldest is passed over.
const WAITING_SECONDS = 2;
const DEFAULT_RATE = 16000;
const NOTHING: Scores = { rows: new Float32Array(0), milliseconds: 0, calls: 0 };

let session: ort.InferenceSession | null = null;
let info: ModelInfo | null = null;
let stream: Stream | null = null;

function tell(message: FromWorker): void {
  const { buffers } =
    message.kind === "heard" ? { buffers: [message.samples.buffer, message.rows.buffer] } : { buffers: [] };
  self.postMessage(message, { transfer: buffers.filter((buffer) => buffer.byteLength > 0) });
}

/** Lets messages in that have come meanwhile. */
const breath = () => new Promise((resolve) => setTimeout(resolve));

class Stream {
  private readonly rate = info?.sampleRate ?? DEFAULT_RATE;
  private readonly piece = Math.round(PIECE_SECONDS * this.rate);
  private readonly scorer = session && info ? new Scorer(ort, session, info) : null;
  private readonly mel = new MelColumns(info?.frontend ?? {}, this.rate);
  private readonly frameSamples = info?.frameSamples ?? this.piece;
  private resampler = new Resampler(this.rate, this.rate);
  private waiting: Float32Array[] = [];
  private waitingSamples = 0;
  private skipped = 0;
  private time = 0;
  private isBusy = false;

  constructor(readonly name: number) {}

  listen(port: MessagePort, rate: number): void {
    this.resampler = new Resampler(rate, this.rate);
    port.onmessage = ({ data }: MessageEvent<Captured>) => {
      if (stream !== this) return port.close();
      this.time = data.time;
      this.add(this.resampler.convert(data.samples));
      if (!this.isBusy) void this.answer();
    };
  }

  /** Score a whole sound, as fast as it goes. */
  async score(samples: Float32Array): Promise<void> {
    for (let start = 0; start < samples.length && stream === this; start += this.piece) {
      await this.hear(samples.slice(start, start + this.piece));
      if ((start / this.piece) % 10 === 0) await breath();
    }
    if (stream !== this) return;
    const scores = this.scorer ? await this.scorer.finish() : NOTHING;
    this.answerWith(new Float32Array(0), scores, true);
  }

  private add(samples: Float32Array): void {
    this.waiting.push(samples);
    this.waitingSamples += samples.length;
    if (this.waitingSamples < WAITING_SECONDS * this.rate) return;
    const sound = joined(this.waiting);
    const frames = Math.floor((sound.length - this.piece) / this.frameSamples);
    this.skipped += frames;
    this.waiting = [sound.slice(frames * this.frameSamples)];
    this.waitingSamples = this.waiting[0].length;
  }

  private async answer(): Promise<void> {
    this.isBusy = true;
    while (this.waitingSamples >= this.piece && stream === this) {
      const sound = joined(this.waiting);
      this.waiting = [sound.slice(this.piece)];
      this.waitingSamples = this.waiting[0].length;
      await this.hear(sound.slice(0, this.piece));
      await breath();
    }
    this.isBusy = false;
  }

  private async hear(samples: Float32Array): Promise<void> {
    try {
      const scores = this.scorer ? await this.scorer.hear(samples) : NOTHING;
      if (stream === this) this.answerWith(samples, scores, false);
    } catch (error) {
      stream = null;
      tell({ kind: "broken", stream: this.name, message: String(error) });
    }
  }

  private answerWith(samples: Float32Array, scores: Scores, isLast: boolean): void {
    const { skipped, time, name } = this;
    const columns = this.mel.hear(samples);
    this.skipped = 0;
    tell({ kind: "heard", stream: name, samples, columns, skipped, time, isLast, ...scores });
  }
}

async function load(request: number, file: ArrayBuffer, name: string): Promise<void> {
  try {
    const bytes = new Uint8Array(file);
    const next = readModelInfo(bytes, name);
    const loaded = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    stream = null;
    void session?.release();
    [session, info] = [loaded, next];
    tell({ kind: "loaded", request, info });
  } catch (error) {
    const message =
      error instanceof ModelError ? error.message : `${name} cannot be run (${String(error)}): export it again.`;
    tell({ kind: "failed", request, message });
  }
}

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL(wasmAddress, self.location.href).href };
ort.env.logLevel = "error";

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "load") void load(data.request, data.file, data.name);
  else if (data.kind === "stop") stream = null;
  else {
    stream = new Stream(data.stream);
    if (data.kind === "listen") stream.listen(data.port, data.rate);
    else void stream.score(data.samples);
  }
};
