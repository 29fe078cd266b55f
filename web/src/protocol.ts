/** What page, worker and audio thread tell each other. */

import type { ModelInfo } from "./model_info.ts";

/** From the audio thread: sound as it was captured. */
export interface Captured {
  samples: Float32Array;
  /** Of its last sample, on the clock of the audio context (seconds). */
  time: number;
}

export type ToWorker =
  | { kind: "load"; request: number; file: ArrayBuffer; name: string }
  | { kind: "listen"; stream: number; port: MessagePort; rate: number }
  | { kind: "score"; stream: number; samples: Float32Array }
  | { kind: "stop" };

export interface Heard {
  kind: "heard";
  stream: number;
  /** At the model's rate. */
  samples: Float32Array;
  /** Scores of the frames that they complete, one a label. */
  rows: Float32Array;
  /** Columns of the log-mel picture. */
  columns: Float32Array;
  /** Frames before `rows` that were not scored, because the machine was busy. */
  skipped: number;
  calls: number;
  milliseconds: number;
  /** On the clock of the audio context (seconds); 0 for a file. */
  time: number;
  isLast: boolean;
}

export type FromWorker =
  | { kind: "loaded"; request: number; info: ModelInfo }
  | { kind: "failed"; request: number; message: string }
  | { kind: "broken"; stream: number; message: string }
  | Heard;
