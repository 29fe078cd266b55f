/** What the sources of the page answer, for tests in Python: a task as JSON on standard input, the answer on standard output. */

import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";
import { isSpeaker, isWord } from "../src/clips.ts";
import { Detector } from "../src/detector.ts";
import { MelColumns } from "../src/mel.ts";
import { readModelInfo, type DetectorSettings, type FrontEnd } from "../src/model_info.ts";
import { Resampler } from "../src/resampler.ts";
import { joined, Scorer } from "../src/scorer.ts";
import { faultOf, loudestPart, trimmed } from "../src/takes.ts";

interface Task {
  what: keyof typeof answers;
  model: string;
  sound: number[];
  pieces: number[];
  rows: number[];
  labels: string[];
  frameMs: number;
  settings: DetectorSettings;
  rates: [number, number];
  names: string[];
  frontend: Partial<FrontEnd>;
}

const task = JSON.parse(readFileSync(0, "utf-8")) as Task;

function* cut(values: Float32Array, lengths: number[]): Generator<Float32Array> {
  let start = 0;
  for (const length of lengths) yield values.slice(start, (start += length));
  yield values.slice(start);
}

const answers = {
  info: () => readModelInfo(readFileSync(task.model), "model.onnx"),
  /** Scores of a whole sound that comes in pieces. */
  rows: async () => {
    ort.env.wasm.numThreads = 1;
    const file = readFileSync(task.model);
    const scorer = new Scorer(ort, await ort.InferenceSession.create(file), readModelInfo(file, "model.onnx"));
    const parts = [];
    for (const piece of cut(Float32Array.from(task.sound), task.pieces)) parts.push((await scorer.hear(piece)).rows);
    parts.push((await scorer.finish()).rows);
    return [...joined(parts)];
  },
  events: () => {
    const detector = new Detector(task.labels, task.frameMs, task.settings);
    const pieces = cut(
      Float32Array.from(task.rows),
      task.pieces.map((frames) => frames * task.labels.length),
    );
    return [...[...pieces].flatMap((rows) => detector.hear(rows)), ...detector.finish()];
  },
  resampled: () => {
    const resampler = new Resampler(...task.rates);
    return [...joined([...cut(Float32Array.from(task.sound), task.pieces)].map((piece) => resampler.convert(piece)))];
  },
  names: () => task.names.map((name) => [isWord(name), isSpeaker(name)]),
  take: () => {
    const [samples, rate] = [Float32Array.from(task.sound), task.rates[0]];
    return { fault: faultOf(samples, rate), word: [...trimmed(samples, rate)] };
  },
  loudest: () => [...loudestPart(Float32Array.from(task.sound), task.rates[0])],
  mel: () => [...new MelColumns(task.frontend, task.rates[0]).hear(Float32Array.from(task.sound))],
};

process.stdout.write(JSON.stringify(await answers[task.what]()));
