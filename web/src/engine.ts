/** The worker that runs the model, seen from the page. */

import type { ModelInfo } from "./model_info.ts";
import { ModelError } from "./model_info.ts";
import type { FromWorker, Heard, ToWorker } from "./protocol.ts";

export class Engine {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private requests = 0;
  private streams = 0;
  private answers = new Map<number, { resolve: (info: ModelInfo) => void; reject: (error: ModelError) => void }>();

  constructor(
    private readonly onHeard: (heard: Heard) => void,
    private readonly onBroken: (message: string) => void,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.receive(data);
    this.worker.onerror = (event) => this.onBroken(event.message);
  }

  /** Load a model in the place of the one before, which stays if this one cannot be used. */
  load(file: ArrayBuffer, name: string): Promise<ModelInfo> {
    const request = ++this.requests;
    this.send({ kind: "load", request, file, name }, [file]);
    return new Promise((resolve, reject) => this.answers.set(request, { resolve, reject }));
  }

  listen(port: MessagePort, rate: number): void {
    this.send({ kind: "listen", stream: ++this.streams, port, rate }, [port]);
  }

  score(samples: Float32Array): void {
    const copy = samples.slice();
    this.send({ kind: "score", stream: ++this.streams, samples: copy }, [copy.buffer]);
  }

  stop(): void {
    this.streams++;
    this.send({ kind: "stop" }, []);
  }

  private send(message: ToWorker, transfer: Transferable[]): void {
    this.worker.postMessage(message, transfer);
  }

  private receive(message: FromWorker): void {
    if (message.kind === "heard") {
      if (message.stream === this.streams) this.onHeard(message);
    } else if (message.kind === "broken") {
      this.onBroken(message.message);
    } else {
      const answer = this.answers.get(message.request);
      this.answers.delete(message.request);
      if (message.kind === "loaded") answer?.resolve(message.info);
      else answer?.reject(new ModelError(message.message));
    }
  }
}
