/** On the audio thread: gathers blocks of 128 samples in a ring and hands them to the worker, 20 ms at a time. */

import type { Captured } from "./protocol.ts";

// What TypeScript does not know of this scope.
declare const currentTime: number;
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

const CHUNK_SECONDS = 0.02;

class Capture extends AudioWorkletProcessor {
  private ring = new Float32Array(Math.round(CHUNK_SECONDS * sampleRate));
  private filled = 0;
  private worker: MessagePort | null = null;

  constructor() {
    super();
    this.port.onmessage = (message: MessageEvent<MessagePort>) => (this.worker = message.data);
  }

  process([channels]: Float32Array[][]): boolean {
    const length = channels[0]?.length ?? 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.ring[this.filled++] = sum / channels.length;
      if (this.filled === this.ring.length) this.send(currentTime + (i + 1) / sampleRate);
    }
    return true;
  }

  private send(time: number): void {
    const captured: Captured = { samples: this.ring.slice(), time };
    this.worker?.postMessage(captured, [captured.samples.buffer]);
    this.filled = 0;
  }
}

registerProcessor("capture", Capture);
